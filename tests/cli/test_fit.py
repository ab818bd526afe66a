"""The command ``fit``."""

import io
import json
import logging
import re
import subprocess
from importlib import metadata
from math import isnan
from pathlib import Path
from typing import Any

import foreign
import pytest
import torch
from command_line import RUN_FILES, SHORT, config, fail, names, results, slashes
from conftest import Run
from events import graph, hparams, images, layouts, scalars, steps
from mirror import Files, Server, sending
from PIL import Image
from trainers import quiet_trainer

from mnist_lightning import (
    DigitCNN,
    LearningCurves,
    MNISTClassifier,
    PredictionGrid,
    RandomDistortion,
)
from mnist_lightning.callbacks.save_history import read_history
from mnist_lightning.cli import MNISTCLI, main
from mnist_lightning.cli.help import quote
from mnist_lightning.cli.report import class_table
from mnist_lightning.runs import environment
from mnist_lightning.runs.environment import describe_environment
from mnist_lightning.runs.weights import find_weights


def test_run_folder_contains_the_expected_files(fitted: Run) -> None:
    found = {re.sub(r"^events\..*", "events", name) for name in names(fitted.folder)}
    assert found == {"events", "hparams.yaml", *RUN_FILES}
    assert names(fitted.folder / "checkpoints") == {"best.ckpt", "last.ckpt"}
    assert names(fitted.folder.parent.parent) == {"lightning_logs"}  # nothing else is written
    for path in fitted.folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
        assert path.stat().st_size < 300_000


def test_logs_one_point_per_epoch(fitted: Run) -> None:
    epochs = [1, 2, 3]
    assert steps(fitted.folder) == {
        "train/loss": epochs,
        "train/acc": epochs,
        "val/loss": epochs,
        "val/acc": epochs,
        "test/loss": [3],
        "test/acc": [3],
        "figures/learning curves": epochs,
        "figures/predictions, validation": epochs,
        "figures/predictions, test": [3],
        "figures/confusion matrix, validation": [3],
        "figures/confusion matrix, test": [3],
        "figures/misclassified, validation": [3],
        "figures/misclassified, test": [3],
        "figures/filters": [3],
        "figures/training images": [1],
    }


def test_fills_the_tabs_of_tensorboard(fitted: Run) -> None:
    assert layouts(fitted.folder) == {
        "training and validation": {
            "loss": ["^train/loss$", "^val/loss$"],
            "accuracy": ["^train/acc$", "^val/acc$"],
        }
    }
    assert hparams(fitted.folder) == {
        "epochs": 3,
        "learning_rate": 0.001,
        "seed": 0,
        "settings/batch_norm": False,
        "settings/batch_size": 128,
        "settings/dataset": "MNIST",
        "settings/dropout": 0.2,
        "settings/label_smoothing": 0.0,
        "settings/sam_radius": 0.0,
        "settings/schedule": "constant",
        "settings/source": "sample",
        "settings/split_seed": 0,
        "settings/val_fraction": 0.2,
        "settings/weight_decay": 0.0,
    }
    assert any("DigitCNN" in node for node in graph(fitted.folder))
    for tag, name in (
        ("figures/learning curves", "curves"),
        ("figures/predictions, test", "predictions"),
        ("figures/confusion matrix, test", "confusion_matrix"),
        ("figures/misclassified, test", "misclassified"),
        ("figures/filters", "filters"),
        ("figures/training images", "training_images"),
    ):
        last = images(fitted.folder, tag)[-1]
        with Image.open(fitted.folder / f"{name}.png") as image:
            assert image.tobytes() == last.tobytes()


def test_saves_the_best_and_the_last_weights(fitted: Run) -> None:
    losses = [loss for _, loss in scalars(fitted.folder)["val/loss"]]
    best, last = (
        torch.load(fitted.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    )
    assert best["epoch"] == losses.index(min(losses))
    assert last["epoch"] == 2


def test_tests_the_best_checkpoint_and_reports_it(fitted: Run) -> None:
    written = results(fitted.folder)
    assert written["dataset"] == "MNIST sample"
    assert written["epochs"] == 3
    assert written["parameters"] == 37_610
    assert written["seed"] == 0
    assert Path(written["checkpoint"]) == fitted.folder / "checkpoints" / "best.ckpt"

    data = fitted.cli.datamodule
    model = MNISTClassifier.load_from_checkpoint(written["checkpoint"], weights_only=True).eval()
    images, labels = data.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        logits = model(images)
    accuracy = float((logits.argmax(dim=1) == labels).float().mean())
    assert written["test/acc"] == pytest.approx(accuracy, abs=1e-6)
    assert accuracy > 0.8
    loss = float(torch.nn.functional.cross_entropy(logits, labels))
    assert written["test/loss"] == pytest.approx(loss, rel=1e-4)

    confused = torch.zeros(10, 10, dtype=torch.long)
    confused.index_put_((labels, logits.argmax(dim=1)), torch.tensor(1), accumulate=True)
    assert class_table(confused, "0123456789") in fitted.out

    lines = slashes(fitted.out).splitlines()
    assert f"Test accuracy {accuracy:.2%}, loss {loss:.4f}" in lines
    assert lines[-2:] == [
        "Run folder:  lightning_logs/version_0",
        "TensorBoard: tensorboard --logdir lightning_logs",
    ]
    assert sum(line.startswith("Epoch ") for line in lines) == 3


def test_printed_commands_are_quoted(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *SHORT, "--trainer.default_root_dir=my runs"])
    root = quote(str(Path("my runs", "lightning_logs")))
    assert f"TensorBoard: tensorboard --logdir {root}" in capsys.readouterr().out


def test_callbacks_draw_in_other_formats(workdir: Path) -> None:
    curves = ["--trainer.callbacks+=mnist_lightning.LearningCurves", "--trainer.callbacks.dpi=50"]
    filters = ["--trainer.callbacks+=mnist_lightning.FirstLayerFilters"]
    formats = "--trainer.callbacks.formats=[pdf, png]"
    main(["fit", *SHORT, *curves, *filters, formats])
    run = workdir / "lightning_logs" / "version_0"
    assert {"filters.pdf", "filters.png", "curves.png"} < names(run)
    assert "curves.pdf" not in names(run)
    with Image.open(run / "curves.png") as image:
        assert image.width == 270


def test_is_reproducible_and_depends_on_the_seed(workdir: Path) -> None:
    weights = []
    for seed in ("3", "3", "4"):
        cli = main(["fit", *SHORT, "--seed_everything", seed])
        weights.append(torch.cat([p.flatten() for p in cli.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert names(workdir / "lightning_logs") == {"version_0", "version_1", "version_2"}


def test_second_fit_creates_a_new_run_and_leaves_the_first_unchanged(trained: Path) -> None:
    old = trained / "lightning_logs" / "version_0"
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    main(["fit", *SHORT])
    assert names(old.parent) == {"version_0", "version_1"}
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_config_of_a_run_repeats_the_run(fitted: Run, workdir: Path) -> None:
    saved = config(fitted.folder)
    assert saved["data"]["source"] == "sample"
    assert saved["seed_everything"] == 0
    main(["fit", "--config", str(fitted.folder / "config.yaml")])
    again = workdir / "lightning_logs" / "version_0"
    for name in ("test/acc", "test/loss", "epochs"):
        assert results(again)[name] == results(fitted.folder)[name]
    assert config(again) == saved


def test_without_internet_uses_the_sample_and_warns_twice(
    workdir: Path, files: Files, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/train-images-idx3-ubyte.gz"] = sending(b"", status=503)
    main(["fit", *SHORT[2:], "--data.mirrors", server.url])
    run = workdir / "lightning_logs" / "version_0"
    out, err = capsys.readouterr()
    for stream in (out, err):  # beside the result, and at the start
        assert "WARNING: this is not MNIST but the bundled sample" in stream
        assert f"{server.url}/train-images-idx3-ubyte.gz: HTTP status 503" in stream
    assert out.index("Test accuracy") < out.index("WARNING")
    assert results(run)["dataset"] == "MNIST sample"
    assert config(run)["data"]["source"] == "sample"


def test_downloads_the_data(workdir: Path, files: Files, server: Server) -> None:
    server.serve(files.content)
    cli = main(["fit", *SHORT[2:], "--data.mirrors", f"[{server.url}]", "--data.batch_size", "8"])
    assert cli.datamodule.dataset_name == "MNIST"
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["dataset"] == "MNIST"
    assert config(run)["data"]["source"] == "mnist"
    assert names(workdir / "data" / "MNIST" / "raw") == set(files.dataset.files)


def test_fast_dev_run_writes_no_files(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.source", "sample", "--trainer.fast_dev_run", "true"])
    assert names(workdir) == set()
    out = capsys.readouterr().out
    assert "Test accuracy" in out
    assert "no checkpoint was saved" in out


def test_without_validation_tests_the_last_weights(workdir: Path) -> None:
    main(["fit", *SHORT, "--trainer.limit_val_batches", "0"])
    run = workdir / "lightning_logs" / "version_0"
    assert names(run / "checkpoints") == {"last.ckpt"}
    assert Path(results(run)["checkpoint"]).name == "last.ckpt"


def test_without_logger_still_writes_a_run_folder(workdir: Path) -> None:
    for version in (0, 1):
        main(["fit", *SHORT, "--trainer.logger", "false"])
        run = workdir / "lightning_logs" / f"version_{version}"
        assert names(run) == RUN_FILES
    assert names(workdir) == {"lightning_logs"}


def test_without_the_test(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = main(["fit", *SHORT, "--test_after_fit=false"])
    run = workdir / "lightning_logs" / "version_0"
    assert cli.results == results(run)
    assert not [name for name in results(run) if name.startswith("test")]
    assert 0 < results(run)["val/acc"] < 1
    out = capsys.readouterr().out
    assert f"Validation accuracy {results(run)['val/acc']:.2%}" in out
    assert "Test accuracy" not in out
    assert "test/acc" not in scalars(run)
    # The config says so, too, and other commands accept it.
    main(["test", "--config", str(run / "config.yaml")])
    assert "test/acc" in results(workdir / "lightning_logs" / "version_1")


def test_results_contain_the_validation_metrics_of_the_tested_weights(fitted: Run) -> None:
    rows = read_history(fitted.folder / "history.csv")
    tested = results(fitted.folder)
    assert tested["checkpoint_epoch"] in (1, 2, 3)
    row = rows[tested["checkpoint_epoch"] - 1]
    assert (tested["val/loss"], tested["val/acc"]) == (row["val/loss"], row["val/acc"])
    assert fitted.cli.results == tested


def test_the_sanity_check_does_not_validate_the_weights(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(model: MNISTClassifier, batch: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MNISTClassifier, "training_step", interrupt)
    with pytest.raises(SystemExit):
        main(["fit", *SHORT, "--trainer.num_sanity_val_steps=1"])
    last = workdir / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    weights = find_weights(str(last), workdir)
    assert (weights.steps, weights.epochs) == (0, 0)
    assert weights.validation_metrics == {}


def test_history_has_a_row_for_each_epoch(fitted: Run) -> None:
    header, *lines = (fitted.folder / "history.csv").read_text().splitlines()
    assert header == "epoch,step,seconds,train/loss,train/acc,val/loss,val/acc"
    assert [line.split(",")[:2] for line in lines] == [["1", "25"], ["2", "50"], ["3", "75"]]
    rows = read_history(fitted.folder / "history.csv")
    logged = scalars(fitted.folder)
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert [row[name] for row in rows] == pytest.approx([value for _, value in logged[name]])
    assert all(0 < row["seconds"] < 60 for row in rows)


def test_history_leaves_out_what_an_epoch_did_not_log(workdir: Path) -> None:
    main(["fit", *SHORT, "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2"])
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=4"])
    rows = read_history(workdir / "lightning_logs" / "version_0" / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert ["val/acc" in row for row in rows] == [False, True, False, True]
    assert all("train/acc" in row for row in rows)


def test_history_forgets_what_was_not_saved(trained: Path) -> None:
    """A run can be interrupted after the row of an epoch and before its checkpoint."""
    path = trained / "lightning_logs" / "version_0" / "history.csv"
    kept = read_history(path)
    path.write_text(path.read_text() + "4,100,1.0,9.0,0.0,9.0,0.0\n")
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=4"])
    *rows, last = read_history(path)
    assert rows == kept
    assert (last["epoch"], last["step"]) == (4, 100)
    assert last["train/loss"] < 1


def test_git_does_not_inherit_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    # In a sweep it is a pipe that a thread reads, for which some programs on Windows wait.
    run, inputs = subprocess.run, []

    def record(args: Any, **options: Any) -> Any:
        if args[0] == "git":
            inputs.append(options.get("stdin"))
        return run(args, **options)

    monkeypatch.setattr(subprocess, "run", record)
    describe_environment(quiet_trainer(), "fit")
    assert set(inputs) == {subprocess.DEVNULL}


def test_environment_describes_the_process(
    fitted: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads((fitted.folder / "environment.json").read_text())
    assert found["command"].startswith("mnist_lightning fit --data.source sample")
    assert found["packages"]["torch"] == metadata.version("torch")
    assert (found["device"], found["processes"]) == ("cpu", 1)
    assert found["git"] is None
    assert found["loggers"] == {"EpochTensorBoardLogger": "version_0"}

    commands = ["init -q", "config user.email a@b.c", "config user.name A"]
    for arguments in [*commands, "commit -q --allow-empty -m first"]:
        subprocess.run(["git", *arguments.split()], check=True)
    for has_changes in (False, True):
        monkeypatch.chdir(workdir)
        if has_changes:
            Path("new.txt").write_text("")
        root = ["--trainer.default_root_dir", str(workdir.parent / f"root{has_changes}")]
        main(["predict", "--ckpt_path=pretrained", "--data.source=sample", *root])
        (path,) = Path(root[1]).rglob("environment.json")
        git = json.loads(path.read_text())["git"]
        assert len(git["commit"]) == 40
        assert git["has_changes"] == has_changes


def test_environment_without_git_and_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "absent_package"))
    found = describe_environment(quiet_trainer(), "fit")
    assert found["git"] is None
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["packages"]["absent_package"] is None


@pytest.mark.parametrize("content", ["{", "[1]", '{"loggers": 3}', "{}"])
def test_a_damaged_environment_has_no_loggers(tmp_path: Path, content: str) -> None:
    assert environment.logger_versions(tmp_path) == {}
    (tmp_path / "environment.json").write_text(content)
    assert environment.logger_versions(tmp_path) == {}


@pytest.mark.parametrize(
    "option",
    ["enable_checkpointing=false", "enable_progress_bar=false", "limit_test_batches=0"],
)
def test_parts_can_be_disabled(
    workdir: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT, f"--trainer.{option}"])
    out = capsys.readouterr().out
    run = workdir / "lightning_logs" / "version_0"
    assert (run / "checkpoints").exists() == ("checkpointing" not in option)
    assert ("Epoch 1/1" in out) == ("progress_bar" not in option)
    assert ("test/acc" in results(run)) == ("test_batches" not in option)
    assert ("Validation accuracy" in out) == ("test_batches" in option)
    assert ("Most confused" in out) == ("test_batches" not in option)


@pytest.mark.parametrize("option", ["max_epochs=0", "limit_train_batches=0"])
def test_untrained_weights_are_reported_as_untrained(
    workdir: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT, f"--trainer.{option}"])
    assert "Weights:     UNTRAINED" in capsys.readouterr().out


def test_best_epoch_is_complete_and_matches_the_curves(workdir: Path) -> None:
    rarely = ["--trainer.check_val_every_n_epoch", "2"]
    main(["fit", *SHORT, *rarely, "--trainer.max_epochs", "4"])
    run = workdir / "lightning_logs" / "version_0"
    best = run / "checkpoints" / "best.ckpt"
    losses = dict(scalars(run)["val/loss"])
    assert set(losses) == {2, 4}
    epoch = results(run)["checkpoint_epoch"]
    assert losses[epoch] == min(losses.values())
    cli = main(["fit", "--ckpt_path", str(best), *rarely, "--trainer.max_epochs", "6"])
    (curves,) = (
        one
        for one in cli.trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(one, LearningCurves)
    )
    assert [isnan(value) for value in curves.history["val/loss"]] == [True, False] * 3
    assert not any(isnan(value) for value in curves.history["train/loss"])


def test_user_callbacks_are_added_to_the_default_ones(workdir: Path) -> None:
    mine = ["--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.filename", "mine"]
    main(["fit", *SHORT, *mine])
    run = workdir / "lightning_logs" / "version_0"
    assert names(run / "checkpoints") == {"best.ckpt", "last.ckpt", "mine.ckpt"}
    assert Path(results(run)["checkpoint"]).name == "best.ckpt"


def test_user_callback_replaces_the_default_one_of_its_class(workdir: Path) -> None:
    mine = ["--trainer.callbacks=mnist_lightning.PredictionGrid", "--trainer.callbacks.size=2"]
    cli = main(["fit", *SHORT, *mine])
    callbacks = cli.trainer.callbacks  # type: ignore[attr-defined]
    assert [one.size for one in callbacks if isinstance(one, PredictionGrid)] == [2]


def test_profiler_report_is_printed(workdir: Path) -> None:
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    logger = logging.getLogger("lightning.pytorch")
    logger.addHandler(handler)
    try:
        main(["fit", *SHORT, "--trainer.profiler", "simple"])
    finally:
        logger.removeHandler(handler)
    assert "run_training_epoch" in shown.getvalue()


def test_barebones_writes_no_files(workdir: Path) -> None:
    with pytest.warns(UserWarning, match="barebones"):
        main(["fit", *SHORT, "--trainer.barebones", "true"])
    assert names(workdir) == set()


def test_default_root_dir_moves_the_run_folder(workdir: Path) -> None:
    main(["fit", *SHORT, "--trainer.default_root_dir", "there"])
    main(["test", "--trainer.default_root_dir", "there"])
    assert names(workdir) == {"there"}
    assert names(workdir / "there" / "lightning_logs") == {"version_0", "version_1"}


def test_reports_a_learning_rate_that_is_too_high(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", *SHORT, "--model.learning_rate", "1e30")
    assert code == 1
    assert "most likely the learning rate of 1e+30 is too high" in line


def test_starts_from_the_pretrained_weights(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.source=sample", "--model.learning_rate=1e-12", "--trainer.max_epochs=1"]
    cli = main(["fit", "--ckpt_path", "pretrained", *options])
    expected = MNISTClassifier.from_pretrained().state_dict()
    for name, value in cli.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
    assert cli.trainer.current_epoch == 1
    assert cli.datamodule.val_fraction == 0.02  # so what validated then does so again
    out = capsys.readouterr().out
    assert out.startswith(
        "Training DigitCNN (37,610 parameters, all trainable) from the pretrained weights on MNIST "
        "sample: 3,920 images for training, 80 for validation\n"
    )
    assert "NOTE: these digits were not held out" in out
    run = workdir / "lightning_logs" / "version_0"
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0

    main(["fit", "--config", str(run / "config.yaml"), "--model.dropout=0.1"])  # repeats it
    assert (workdir / "lightning_logs" / "version_1" / "results.json").exists()


@pytest.mark.slow
def test_augmentation_and_batch_norm_are_options(workdir: Path) -> None:
    short = ["--data.source=sample", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
    options = ["--data.augment=mnist_lightning.RandomDistortion", "--data.augment.rotation=7"]
    cli = main(["fit", *short, *options, "--model.batch_norm=true"])
    assert isinstance(cli.datamodule.augment, RandomDistortion)
    assert (cli.datamodule.augment.rotation, cli.datamodule.augment.scale) == (7, 0)
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["parameters"] == 37_610

    repeated = main(["fit", "--config", str(run / "config.yaml")])
    assert isinstance(repeated.datamodule.augment, RandomDistortion)
    for name, value in cli.model.state_dict().items():
        torch.testing.assert_close(repeated.model.state_dict()[name], value)
    tested = main(["test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt")])
    assert tested.model.hparams["batch_norm"]


def test_custom_network_is_trained_tested_and_resumed(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ["--model.network=foreign.TwoLayers", "--model.network.hidden=12"]
    main(["fit", *SHORT, *network])
    run = workdir / "lightning_logs" / "version_0"
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    first = "network.layers.1.weight"
    assert saved["state_dict"][first].shape == (12, 784)
    assert "network" not in saved["hyper_parameters"]
    for args in (["test"], ["predict"], ["validate", "--ckpt_path=last"]):  # no need to say it
        assert torch.equal(main(args).model.state_dict()[first], saved["state_dict"][first])
    resumed = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert resumed.trainer.current_epoch == 2
    # A file may come from others, and so may the config beside it.
    file = str(run / "checkpoints" / "best.ckpt")
    assert "does not match this network" in fail(capsys, "test", "--ckpt_path", file)[1]
    main(["test", "--ckpt_path", file, *network])
    loaded = MNISTClassifier.load_from_checkpoint(
        file, network=foreign.TwoLayers(12), weights_only=True
    )
    assert loaded.learning_rate == 0.001


def test_network_is_an_option(workdir: Path) -> None:
    cli = main(["fit", *SHORT, "--model.network", "mnist_lightning.DigitCNN"])
    assert isinstance(cli.model.network, DigitCNN)
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["parameters"] == 37_610
    assert any("DigitCNN[network]" in node for node in graph(run))


def test_main_returns_the_cli_object(fitted: Run) -> None:
    assert isinstance(fitted.cli, MNISTCLI)
    assert fitted.cli.trainer.current_epoch == 3
