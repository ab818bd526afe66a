"""The command line, as a user would try it."""

import csv
import errno
import io
import json
import logging
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import foreign
import pytest
import torch
import yaml
from conftest import Run
from drawings import PICTURES, Drawing
from events import graph, hparams, images, layouts, scalars, steps
from mirror import Files, Server, sending
from PIL import Image

from mnist_lightning import (
    DigitCNN,
    LearningCurves,
    MNISTClassifier,
    MNISTDataModule,
    PredictionGrid,
    RandomDistortion,
)
from mnist_lightning.cli import MNISTCLI, main
from mnist_lightning.cli.report import class_report
from mnist_lightning.runs import checkpoints
from mnist_lightning.runs import folder as runs
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger

SHORT = ["--data.source", "sample", "--trainer.max_epochs", "1", "--trainer.limit_train_batches=5"]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def results(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "results.json").read_text())
    return content


def config(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return content


def fail(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[object, str]:
    """Runs a command line that must fail; returns its exit status and what it says on stderr."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "usage" not in err.lower()
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    return caught.value.code, last


@pytest.fixture
def trained(fitted: Run, workdir: Path) -> Path:
    """A working directory that holds a copy of a finished run."""
    shutil.copytree(fitted.folder, workdir / "lightning_logs" / "version_0")
    return workdir


# --- fit


def test_fit_fills_the_run_folder(fitted: Run) -> None:
    found = {re.sub(r"^events\..*", "events", name) for name in names(fitted.folder)}
    assert found == {
        ".lock",
        "checkpoints",
        "config.yaml",
        "events",
        "hparams.yaml",
        "results.json",
        *PICTURES,
    }
    assert names(fitted.folder / "checkpoints") == {"best.ckpt", "last.ckpt"}
    assert names(fitted.folder.parent.parent) == {"lightning_logs"}  # nothing else is written
    for path in fitted.folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
        assert path.stat().st_size < 300_000


def test_fit_logs_a_point_an_epoch(fitted: Run) -> None:
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


def test_fit_fills_the_tabs_of_tensorboard(fitted: Run) -> None:
    assert layouts(fitted.folder) == {
        "training and validation": {
            "loss": ["^train/loss$", "^val/loss$"],
            "accuracy": ["^train/acc$", "^val/acc$"],
        }
    }
    assert hparams(fitted.folder) == (
        {
            "batch_norm": False,
            "batch_size": 128,
            "dataset": "MNIST",
            "dropout": 0.2,
            "label_smoothing": 0.0,
            "learning_rate": 0.001,
            "schedule": "constant",
            "seed": 0,
            "source": "sample",
            "split_seed": 0,
            "val_fraction": 0.2,
            "sam_radius": 0.0,
            "weight_decay": 0.0,
        },
        ["test/acc", "test/loss", "val/acc", "val/loss"],
    )
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


def test_fit_keeps_the_best_and_the_last_weights(fitted: Run) -> None:
    losses = [loss for _, loss in scalars(fitted.folder)["val/loss"]]
    best, last = (
        torch.load(fitted.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    )
    assert best["epoch"] == losses.index(min(losses))
    assert last["epoch"] == 2


def test_fit_tests_the_best_checkpoint_and_says_so(fitted: Run) -> None:
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
    assert class_report(confused, "0123456789") in fitted.out

    lines = fitted.out.splitlines()
    assert f"Test accuracy {accuracy:.2%}, loss {loss:.4f}" in lines
    assert lines[-2:] == [
        "Run folder: lightning_logs/version_0",
        "To look:    tensorboard --logdir lightning_logs",
    ]
    assert sum(line.startswith("Epoch ") for line in lines) == 3


def test_fit_is_reproducible_and_depends_on_its_seed(workdir: Path) -> None:
    weights = []
    for seed in ("3", "3", "4"):
        cli = main(["fit", *SHORT, "--seed_everything", seed])
        weights.append(torch.cat([p.flatten() for p in cli.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert names(workdir / "lightning_logs") == {"version_0", "version_1", "version_2"}


def test_fit_again_opens_a_new_run_and_leaves_the_old_one(trained: Path) -> None:
    old = trained / "lightning_logs" / "version_0"
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    main(["fit", *SHORT])
    assert names(old.parent) == {"version_0", "version_1"}
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_config_of_a_run_repeats_it(fitted: Run, workdir: Path) -> None:
    saved = config(fitted.folder)
    assert saved["data"]["source"] == "sample"
    assert saved["seed_everything"] == 0
    main(["fit", "--config", str(fitted.folder / "config.yaml")])
    again = workdir / "lightning_logs" / "version_0"
    for name in ("test/acc", "test/loss", "epochs"):
        assert results(again)[name] == results(fitted.folder)[name]
    assert config(again) == saved


def test_fit_without_network_uses_the_sample_and_says_so_twice(
    workdir: Path, files: Files, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/train-images-idx3-ubyte.gz"] = sending(b"", status=503)
    main(["fit", *SHORT[2:], "--data.mirrors", server.url])
    run = workdir / "lightning_logs" / "version_0"
    out, err = capsys.readouterr()
    for stream in (out, err):  # beside the result, and at the start
        assert "WARNING: this is not MNIST but the embedded sample" in stream
        assert f"{server.url}/train-images-idx3-ubyte.gz: HTTP status 503" in stream
    assert out.index("Test accuracy") < out.index("WARNING")
    assert results(run)["dataset"] == "MNIST sample"
    assert config(run)["data"]["source"] == "sample"


def test_fit_downloads(workdir: Path, files: Files, server: Server) -> None:
    server.serve(files.content)
    cli = main(["fit", *SHORT[2:], "--data.mirrors", f"[{server.url}]", "--data.batch_size", "8"])
    assert cli.datamodule.dataset_name == "MNIST"
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["dataset"] == "MNIST"
    assert config(run)["data"]["source"] == "mnist"
    assert names(workdir / "data" / "MNIST" / "raw") == set(files.dataset.files)


def test_fast_dev_run_writes_nothing(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.source", "sample", "--trainer.fast_dev_run", "true"])
    assert names(workdir) == set()
    out = capsys.readouterr().out
    assert "Test accuracy" in out
    assert "no checkpoint was kept" in out


def test_fit_without_validation_tests_the_last_weights(workdir: Path) -> None:
    main(["fit", *SHORT, "--trainer.limit_val_batches", "0"])
    run = workdir / "lightning_logs" / "version_0"
    assert names(run / "checkpoints") == {"last.ckpt"}
    assert Path(results(run)["checkpoint"]).name == "last.ckpt"


def test_fit_without_logger_has_a_run_folder_all_the_same(workdir: Path) -> None:
    for version in (0, 1):
        main(["fit", *SHORT, "--trainer.logger", "false"])
        run = workdir / "lightning_logs" / f"version_{version}"
        assert names(run) == {".lock", "checkpoints", "config.yaml", "results.json", *PICTURES}
    assert names(workdir) == {"lightning_logs"}


def test_fit_with_another_logger_writes_into_its_folder(workdir: Path) -> None:
    main(["fit", *SHORT, "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "logs"])
    run = workdir / "logs" / "lightning_logs" / "version_0"
    drawn = {"curves.png", "predictions.png", "confusion_matrix.png", "misclassified.png"}
    assert {"metrics.csv", "results.json", *drawn} < names(run)
    assert names(workdir) == {"logs"}


@pytest.mark.parametrize(
    "option",
    ["enable_checkpointing=false", "enable_progress_bar=false", "limit_test_batches=0"],
)
def test_fit_without_some_part(
    workdir: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT, f"--trainer.{option}"])
    out = capsys.readouterr().out
    run = workdir / "lightning_logs" / "version_0"
    assert (run / "checkpoints").exists() == ("checkpointing" not in option)
    assert ("Epoch 1/1" in out) == ("progress_bar" not in option)
    assert (run / "results.json").exists() == ("test_batches" not in option)
    assert ("there is no result" in out) == ("test_batches" in option)
    assert ("Most confused" in out) == ("test_batches" not in option)


@pytest.mark.parametrize("option", ["max_epochs=0", "limit_train_batches=0"])
def test_untrained_weights_are_called_so(
    workdir: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT, f"--trainer.{option}"])
    assert "Weights:    UNTRAINED" in capsys.readouterr().out


def test_best_epoch_is_whole_and_the_one_in_the_curves(workdir: Path) -> None:
    rarely = ["--trainer.check_val_every_n_epoch", "2"]
    main(["fit", *SHORT, *rarely, "--trainer.max_epochs", "4"])
    run = workdir / "lightning_logs" / "version_0"
    best = run / "checkpoints" / "best.ckpt"
    losses = dict(scalars(run)["val/loss"])
    assert set(losses) == {2, 4}
    epoch = results(run)["checkpoint_epoch"]
    assert losses[epoch] == min(losses.values())
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        cli = main(["fit", "--ckpt_path", str(best), *rarely, "--trainer.max_epochs", "6"])
    (curves,) = (
        one
        for one in cli.trainer.callbacks  # type: ignore[attr-defined]
        if isinstance(one, LearningCurves)
    )
    assert [isnan(value) for value in curves.history["val/loss"]] == [True, False] * 3
    assert not any(isnan(value) for value in curves.history["train/loss"])


def test_callbacks_of_the_user_come_beside_ours(workdir: Path) -> None:
    mine = ["--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.filename", "mine"]
    main(["fit", *SHORT, *mine])
    run = workdir / "lightning_logs" / "version_0"
    assert names(run / "checkpoints") == {"best.ckpt", "last.ckpt", "mine.ckpt"}
    assert Path(results(run)["checkpoint"]).name == "best.ckpt"


def test_a_callback_of_the_user_takes_the_place_of_ours(workdir: Path) -> None:
    mine = ["--trainer.callbacks=mnist_lightning.PredictionGrid", "--trainer.callbacks.size=2"]
    cli = main(["fit", *SHORT, *mine])
    callbacks = cli.trainer.callbacks  # type: ignore[attr-defined]
    assert [one.size for one in callbacks if isinstance(one, PredictionGrid)] == [2]


def test_a_profile_that_was_asked_for_is_shown(workdir: Path) -> None:
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    logger = logging.getLogger("lightning.pytorch")
    logger.addHandler(handler)
    try:
        main(["fit", *SHORT, "--trainer.profiler", "simple"])
    finally:
        logger.removeHandler(handler)
    assert "run_training_epoch" in shown.getvalue()


def test_predict_on_several_devices_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
    code, line = fail(capsys, "predict")
    assert code == 1
    assert "predict needs one device" in line


def test_barebones_is_for_measuring(workdir: Path) -> None:
    with pytest.warns(UserWarning, match="barebones"):
        main(["fit", *SHORT, "--trainer.barebones", "true"])
    assert names(workdir) == set()


def test_fit_elsewhere(workdir: Path) -> None:
    main(["fit", *SHORT, "--trainer.default_root_dir", "there"])
    main(["test", "--trainer.default_root_dir", "there"])
    assert names(workdir) == {"there"}
    assert names(workdir / "there" / "lightning_logs") == {"version_0", "version_1"}


# --- resuming


def test_last_goes_on_in_its_own_run(trained: Path) -> None:
    run = trained / "lightning_logs" / "version_0"
    before = config(run)
    cli = main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "5"])
    assert names(run.parent) == {"version_0"}
    assert cli.trainer.current_epoch == 5
    assert results(run)["epochs"] == 5
    assert names(run / "checkpoints") == {"best.ckpt", "last.ckpt"}
    found = steps(run)
    for tag in (
        "train/loss",
        "val/loss",
        "figures/learning curves",
        "figures/predictions, validation",
    ):
        assert found[tag] == [1, 2, 3, 4, 5]
    assert found["test/loss"] == [3, 5]
    # The config still repeats the run from its beginning, with the epochs it now has.
    before["trainer"]["max_epochs"] = 5
    assert config(run) == before


def test_last_remembers_the_best_score_from_wherever_it_is_started(trained: Path) -> None:
    run = trained / "lightning_logs" / "version_0"  # a copy: its checkpoints name another folder
    before = (run / "checkpoints" / "best.ckpt").read_bytes()
    os.chdir("/")
    try:
        with pytest.MonkeyPatch.context() as patch:
            # From now on nothing is better than what there was.
            patch.setattr(MNISTClassifier, "validation_step", _worse)
            root = ["--trainer.default_root_dir", str(trained)]
            cli = main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "4", *root])
    finally:
        os.chdir(trained)
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == before
    assert results(run)["checkpoint_epoch"] == 3
    assert results(run)["epochs"] == 4
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for name, value in cli.model.state_dict().items():  # the best is tested, not the last
        assert torch.equal(value, best[name])


def _worse(self: MNISTClassifier, batch: Any, batch_idx: int) -> None:
    self.log_dict({"val/loss": 9.0, "val/acc": 0.1})


def test_a_resume_with_wrong_options_leaves_the_run_as_it_was(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "lightning_logs" / "version_0"
    before = (run / "config.yaml").read_bytes()
    code, line = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.val_check_interval", "5000")
    assert code == 2
    assert (
        "Lightning cannot do this with these options: `val_check_interval` (5000) must be" in line
    )
    code, _ = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "1")
    assert code == 2
    code, line = fail(capsys, "fit", "--ckpt_path", "last", "--model.learning_rate", "0.1")
    assert code == 2
    assert "--model.learning_rate is 0.1; a run goes on with its own, 0.001" in line
    assert (run / "config.yaml").read_bytes() == before


def test_a_failed_resume_never_removes_the_run(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "lightning_logs" / "version_0"
    (run / "config.yaml").unlink()
    fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "1")
    assert names(run / "checkpoints") == {"best.ckpt", "last.ckpt"}


def test_a_finished_run_says_that_nothing_is_left(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--ckpt_path", "last"])
    assert "Nothing was left to train; raise --trainer.max_epochs" in capsys.readouterr().out


def test_results_of_a_resumed_run_are_gone_until_it_is_finished(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(self: MNISTCLI, **kwargs: object) -> None:
        raise RuntimeError("killed before the test")

    monkeypatch.setattr(MNISTCLI, "test", crash)
    with pytest.raises(RuntimeError, match="killed"):
        main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "4"])
    assert not (trained / "lightning_logs" / "version_0" / "results.json").exists()


def test_a_resume_within_an_epoch(workdir: Path) -> None:
    main(["fit", "--data.source", "sample", "--trainer.max_steps", "30"])
    with pytest.warns(UserWarning, match="ended before the epoch ended"):
        cli = main(["fit", "--ckpt_path", "last", "--trainer.max_steps", "50"])
    assert cli.trainer.global_step == 50
    found = steps(workdir / "lightning_logs" / "version_0")
    assert found["train/loss"] == found["val/loss"] == found["figures/learning curves"] == [1, 2]


def test_a_test_that_was_logged_is_not_logged_again(workdir: Path) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    before = steps(run)
    (run / "predictions.png").unlink()
    main(["fit", "--ckpt_path", "last"])  # nothing is left to train
    assert steps(run) == before
    assert {"predictions.png", "results.json"} < names(run)
    (run / "results.json").unlink()  # as if the test had been broken off
    main(["fit", "--ckpt_path", "last"])
    assert steps(run)["test/loss"] == [1, 1]


def test_what_was_logged_behind_a_checkpoint_is_replaced(workdir: Path) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    last = run / "checkpoints" / "last.ckpt"
    kept = last.read_bytes()
    main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    last.write_bytes(kept)  # as if the second epoch had been broken off before its checkpoint
    main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    found = steps(run)
    assert found["train/loss"] == found["val/loss"] == found["figures/learning curves"] == [1, 2]
    assert found["test/loss"] == [1, 2]


def test_last_takes_the_options_of_its_run(workdir: Path) -> None:
    main(["fit", *SHORT, "--data.batch_size", "50", "--model.learning_rate", "0.01"])
    cli = main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    assert cli.datamodule.batch_size == 50
    assert cli.model.learning_rate == 0.01
    assert cli.trainer.limit_train_batches == 5


def test_a_path_goes_on_in_a_new_run(trained: Path) -> None:
    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    with pytest.warns(UserWarning, match="The dirpath has changed"):
        cli = main(["fit", "--ckpt_path", str(path), "--trainer.max_epochs", "4"])
    assert cli.trainer.current_epoch == 4
    run = trained / "lightning_logs" / "version_1"
    assert config(run)["ckpt_path"] == str(path)
    assert Path(results(run)["checkpoint"]).parent.parent == run


# --- faults


def _full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_only(self: Path, *args: Any, **kwargs: Any) -> Any:
    if self.suffix == ".tmp":
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return Path_open(self, *args, **kwargs)


Path_open = Path.open


@pytest.mark.parametrize(
    ("what", "fault", "why"),
    [
        ("os.fsync", _full_disk, "No space left on device"),
        ("pathlib.Path.open", _read_only, "Read-only file system"),
    ],
)
@pytest.mark.parametrize("where", ["checkpoint", "figure"])
def test_a_disk_that_takes_no_more_spares_what_there_is(
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    fault: Callable[..., Any],
    why: str,
    where: str,
) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    before = {path: path.read_bytes() for path in run.rglob("*.ckpt")}
    module, name = (
        ("runs.checkpoints", "AtomicCheckpointIO.save_checkpoint")
        if where == "checkpoint"
        else ("callbacks.evaluation_figure", "publish")
    )
    target = f"mnist_lightning.{module}.{name}"
    original = pkgutil.resolve_name(f"mnist_lightning.{module}:{name}")

    def with_fault(*args: Any, **kwargs: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(what, fault)
            original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(target, with_fault)
        code, line = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert code == 1
    assert (
        f"checkpoints/best.ckpt cannot be written ({why}); the one that was there before is whole"
        if where == "checkpoint"
        else f"predictions.png cannot be read or written ({why})"
    ) in line
    assert {path: path.read_bytes() for path in run.rglob("*.ckpt")} == before
    assert not list(run.rglob("*.tmp"))
    cli = main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    assert cli.trainer.current_epoch == 2
    assert results(run)["epochs"] == 2


def test_a_checkpoint_takes_its_name_when_its_epoch_is_logged(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    before = {path.name: path.read_bytes() for path in run.rglob("*.ckpt")}
    replace, named = Path.replace, []

    def noting(self: Path, target: Path) -> Path:
        named.append(Path(target).name)
        return replace(self, target)

    def crash(self: EpochTensorBoardLogger, metrics: dict[str, float], step: int) -> None:
        if "train/loss" in metrics:
            assert {"best.ckpt.next", "last.ckpt.next"} <= {*named}  # they were written
            raise RuntimeError("before it was logged")

    go_on = ["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"]
    monkeypatch.setattr(Path, "replace", noting)
    with monkeypatch.context() as patch:
        patch.setattr(EpochTensorBoardLogger, "log_metrics", crash)
        with pytest.raises(RuntimeError, match="before it was logged"):
            main(go_on)
    assert {path.name: path.read_bytes() for path in run.rglob("*.ckpt")} == before
    named.clear()
    main(go_on)
    # What last.ckpt says of the best one is true at any moment.
    assert [name for name in named if name.endswith(".ckpt")] == ["best.ckpt", "last.ckpt"]


def test_a_full_disk_breaks_off_a_real_run(workdir: Path) -> None:
    # Room for a checkpoint, but not for the event file, which a thread of TensorBoard writes.
    fit = command("fit", "--data.source=sample", "--trainer.max_epochs=30")
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 960; exec "$@"', "sh", *fit],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "To go on from the last whole epoch: python -m mnist_lightning fit --ckpt_path last",
        "error: a file of the run cannot be read or written (File too large)",
    ]
    checkpoints.read(workdir / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt")


def test_a_run_is_trained_by_one_process_at_a_time(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "lightning_logs" / "version_0"
    going_on = ("fit", "--ckpt_path", "last", "--trainer.max_epochs", "4")
    before = (run / "config.yaml").read_bytes()
    lock = runs.lock(run)
    assert lock is not None
    try:
        code, line = fail(capsys, *going_on)
        assert code == 1
        assert "version_0 is being trained by another process; wait for it, or start a" in line
        assert (run / "config.yaml").read_bytes() == before
        assert (run / "results.json").exists()
        main(["test"])  # reads only
        main(["fit", *SHORT])  # takes another one
    finally:
        lock.release()
    (trained / "lightning_logs" / "version_2" / "checkpoints" / "last.ckpt").unlink()
    (trained / "lightning_logs" / "version_2" / "checkpoints" / "best.ckpt").unlink()
    cli = main(going_on)
    assert cli.trainer.current_epoch == 4
    main(going_on)  # a fit that has ended holds no run, even where its object is kept


def test_a_run_begins_with_a_checkpoint_that_only_fit_takes(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(self: MNISTClassifier) -> None:
        raise RuntimeError("in the first epoch")

    with monkeypatch.context() as patch:
        patch.setattr(MNISTClassifier, "on_train_epoch_start", crash)
        with pytest.raises(RuntimeError, match="in the first epoch"):
            main(["fit", *SHORT])
    assert main(["test"]).ckpt_path == Path("lightning_logs/version_0/checkpoints/best.ckpt")
    cli = main(["fit", "--ckpt_path", "last"])
    assert cli.trainer.current_epoch == 1
    assert results(trained / "lightning_logs" / "version_1")["epochs"] == 1


@pytest.mark.parametrize("what", ["train/loss", "val/loss", "weights"])
def test_a_training_that_diverges_stops_and_keeps_the_last_good_epoch(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    main(["fit", *SHORT, "--trainer.limit_val_batches", str(int(what == "val/loss"))])
    run = workdir / "lightning_logs" / "version_0"
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    step = MNISTClassifier._step

    def broken(self: MNISTClassifier, batch: Any, metrics: Any, *args: Any) -> Any:
        loss, logits = step(self, batch, metrics, *args)
        if metrics.prefix == what.replace("loss", ""):
            metrics["loss"].update(torch.tensor(torch.nan), 0)
        last = metrics.prefix == "train/" and metrics["loss"].update_count == 5
        if what == "weights" and last:  # no loss of this epoch shows it
            next(self.parameters()).data.fill_(torch.inf)
        return loss, logits

    monkeypatch.setattr(MNISTClassifier, "_step", broken)
    options = [
        "--trainer.max_epochs",
        "2",
        "--trainer.limit_val_batches",
        str(int(what == "val/loss")),
    ]
    code, line = fail(capsys, "fit", "--ckpt_path", "last", *options)
    assert code == 1
    expected = "the weights are no finite numbers" if what == "weights" else f"{what} is nan"
    assert line.startswith(f"error: {expected} in epoch 2: most likely the learning rate of 0.001")
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before
    assert not (run / "results.json").exists()


def test_broken_weights_are_no_result(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["network.head.4.bias"][0] = torch.nan
    torch.save(content, path)
    code, line = fail(capsys, "test")
    assert code == 1
    assert f"test/loss is nan with the weights of {path.relative_to(trained)}; take others" in line
    assert not list(trained.glob("lightning_logs/version_1/results.json"))


def test_a_learning_rate_that_is_too_high_is_said(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", *SHORT, "--model.learning_rate", "1e30")
    assert code == 1
    assert "in epoch 1: most likely the learning rate of 1e+30 is too high" in line


# --- validate, test, predict


def test_validate_prints_and_writes_nothing(
    trained: Path, fitted: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["validate"])
    out = capsys.readouterr().out
    loss = min(loss for _, loss in scalars(fitted.folder)["val/loss"])
    assert re.search(rf"^Validation accuracy \d\d\.\d\d%, loss {loss:.4f}$", out, re.MULTILINE)
    assert "lightning_logs/version_0/checkpoints/best.ckpt" in out
    assert names(trained) == {"lightning_logs"}
    assert names(trained / "lightning_logs") == {"version_0"}


@pytest.mark.parametrize("extra", [[], ["--config", "fit.yaml"], ["--ckpt_path", "best"]])
def test_test_takes_the_best_checkpoint_of_the_newest_run(
    trained: Path, fitted: Run, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(fitted.folder / "config.yaml", "fit.yaml")  # says ckpt_path: null
    main(["test", *extra])
    run = trained / "lightning_logs" / "version_1"
    drawn = {"confusion_matrix.png", "misclassified.png", "predictions.png"}
    assert names(run) == {"config.yaml", "results.json", *drawn}  # and no events
    expected, found = results(fitted.folder), results(run)
    for name in ("test/acc", "test/loss", "dataset"):
        assert found[name] == expected[name]
    best = Path("lightning_logs/version_0/checkpoints/best.ckpt")
    assert Path(found["checkpoint"]) == trained / best
    assert f"Weights:    {best} (epoch {expected['checkpoint_epoch']})" in capsys.readouterr().out
    assert config(run)["ckpt_path"] == str(best)
    assert config(run)["data"]["source"] == "sample"


def test_a_second_test_still_finds_the_run_with_the_weights(trained: Path) -> None:
    for version in (1, 2):
        main(["test"])
        path = Path(results(trained / "lightning_logs" / f"version_{version}")["checkpoint"])
        assert path.parent.parent.name == "version_0"


def test_pretrained_weights_are_tested_anywhere(
    workdir: Path, capsys: pytest.CaptureFixture[str], files: Files
) -> None:
    main(["test", "--ckpt_path", "pretrained", "--data.source", "sample"])
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["test/acc"] > 0.995
    assert results(run)["parameters"] == 37_610
    out = capsys.readouterr().out
    assert "digits.safetensors (epoch " in out
    assert "NOTE: these digits were not held out" in out

    files.write(workdir / "data")  # in place of MNIST, which has held its test images out
    main(["test", "--ckpt_path", "pretrained"])
    assert results(workdir / "lightning_logs" / "version_1")["dataset"] == "MNIST"
    assert "NOTE" not in capsys.readouterr().out
    config = yaml.safe_load((workdir / "lightning_logs/version_1/config.yaml").read_text())
    assert config["ckpt_path"] == "pretrained"


def test_fit_starts_from_the_pretrained_weights(
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
    assert out.startswith("Training from the pretrained weights on ")
    assert "NOTE: these digits were not held out" in out
    run = workdir / "lightning_logs" / "version_0"
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0

    main(["fit", "--config", str(run / "config.yaml"), "--model.dropout=0.1"])  # repeats it
    assert (workdir / "lightning_logs" / "version_1" / "results.json").exists()


def test_pretrained_weights_fit_their_network_only(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["test", "--ckpt_path", "pretrained", "--model.batch_norm=true"])
    assert caught.value.code == 1
    assert "was made by another network than this one" in capsys.readouterr().err


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


def test_a_mismatch_of_the_data_is_said(
    trained: Path, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write(trained / "data")
    main(["test", "--data.source", "mnist"])
    assert "NOTE: the weights were trained on the sample only" in capsys.readouterr().out
    main(["test"])
    assert "NOTE" not in capsys.readouterr().out

    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["datamodule_hyper_parameters"]["source"] = "mnist"
    torch.save(content, path)
    main(["test", "--data.source", "sample"])
    assert "NOTE: these digits were not held out" in capsys.readouterr().out


def test_predict_writes_a_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = main(["predict"])
    run = trained / "lightning_logs" / "version_1"
    assert names(run) == {"config.yaml", "predictions.csv"}
    with (run / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "label", "probability", *(f"p{i}" for i in range(10))]
    assert [row[0] for row in rows] == [f"test/{index:05d}" for index in range(1000)]
    images, _ = cli.datamodule.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        expected = cli.model.eval()(images).softmax(dim=1)
    found = torch.tensor([[float(value) for value in row[3:]] for row in rows])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert [int(row[1]) for row in rows] == expected.argmax(dim=1).tolist()
    assert [row[2] for row in rows] == [row[3 + int(row[1])] for row in rows]
    out = capsys.readouterr().out
    table = re.findall(r"^test/(\d{5})  (\d)  +(\d+\.\d\d)%", out, re.MULTILINE)
    assert table == [
        (f"{index:05d}", row[1], f"{100 * float(row[2]):.2f}")
        for index, row in enumerate(rows[:10])
    ]
    assert "predictions.csv has 1,000 rows" in out


def test_predict_reads_pictures(
    workdir: Path, sample: MNISTDataModule, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scans").mkdir()
    images, labels = sample.test_set.images[:3, 0].numpy(), sample.test_set.labels[:3].tolist()
    for name, image in zip(("c.png", "scans/a.png", "scans/b.png"), images, strict=True):
        Image.fromarray(255 - image).resize((280, 280)).save(name)
    main(["predict", "--ckpt_path=pretrained", "--data.images=[scans/, c.png, 'scans/*.png']"])
    run = workdir / "lightning_logs" / "version_0"
    assert names(run) == {"config.yaml", "predictions.csv", "predictions.png"}
    assert names(workdir) == {"c.png", "scans", "lightning_logs"}  # MNIST was not asked for
    with (run / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "label", "probability", *(f"p{i}" for i in range(10))]
    assert [row[0] for row in rows] == ["scans/a.png", "scans/b.png", "c.png"]
    assert [int(row[1]) for row in rows] == [labels[1], labels[2], labels[0]]
    out, _ = capsys.readouterr()
    assert "WARNING" not in out
    assert re.search(rf"^c\.png        {labels[0]}  +\d+\.\d\d%$", out, re.MULTILINE)
    assert "predictions.csv has 3 rows" in out
    assert "Data:       your pictures" in out


def test_pictures_without_a_digit_do_not_stop_the_others(
    workdir: Path,
    sample: MNISTDataModule,
    drawn: list[Drawing],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("L", (50, 50), 255).save("1.png")
    Path("2.png").write_text("no picture")
    digit = Image.fromarray(sample.test_set.images[0, 0].numpy())
    digit.save("3.gif", save_all=True, append_images=[Image.new("L", (28, 28)), digit.rotate(180)])
    code, line = fail(capsys, "predict", "--ckpt_path=pretrained", "--data.images=*.*")
    assert code == 1
    assert line == "error: 3 of 5 pictures show no digit: 1.png, 2.png, 3.gif#2"
    run = workdir / "lightning_logs" / "version_0"
    with (run / "predictions.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0] for row in rows] == ["1.png", "2.png", "3.gif#1", "3.gif#2", "3.gif#3"]
    assert [bool(row[1]) for row in rows] == [False, False, True, False, True]
    assert {len(row) for row in rows} == {13}
    [drawing] = drawn
    assert drawing.title == "2 pictures"
    assert [text.split("\n")[0] for text in drawing.texts[:2]] == ["3.gif#1", "3.gif#3"]


@pytest.mark.usefixtures("workdir")
def test_where_no_picture_shows_a_digit_there_is_no_figure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("L", (50, 50)).save("1.png")
    code, line = fail(capsys, "predict", "--ckpt_path=pretrained", "--data.images=1.png")
    assert (code, line) == (1, "error: 1 of 1 pictures show no digit: 1.png")
    run = Path("lightning_logs/version_0")
    assert names(run) == {"config.yaml", "predictions.csv"}


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (["predict", "--data.images=nix.png"], 1, "nix.png is no file; name files, folders or"),
        (["predict", "--data.images=[]"], 2, r"--data.images is \[\]; it must name files"),
        (["predict", "--data.images=[a, '']"], 2, r"--data.images is \['a', ''\]; it must"),
        (["test", "--data.images=a"], 2, "--data.images is 'a'; only predict takes it"),
        (["fit", "--data.images=a"], 2, "--data.images is 'a'; only predict takes it"),
    ],
)
def test_pictures_that_cannot_be_meant_are_refused(
    workdir: Path, args: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained = ["--ckpt_path=pretrained"] if args[0] != "fit" else []
    found, line = fail(capsys, *args, *pretrained)
    assert found == code
    assert re.match(f"error: {why}", line)
    assert names(workdir) == set()


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_untrained_weights_are_never_used(
    workdir: Path, subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, subcommand)
    assert code == 1
    assert "no run below lightning_logs holds a checkpoint" in line
    assert "fit' first" in line
    assert names(workdir) == set()


@pytest.mark.usefixtures("workdir")
def test_a_run_of_one_cycle_goes_on_to_its_end_and_no_further(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop = lambda self: setattr(self.trainer, "should_stop", True)  # noqa: E731
        patch.setattr(MNISTClassifier, "on_train_epoch_end", stop)
        cli = main(["fit", *SHORT, "--trainer.max_epochs=3", "--model.schedule=one_cycle"])
        assert cli.trainer.current_epoch == 1
    cli = main(["fit", "--ckpt_path", "last"])
    assert cli.trainer.current_epoch == 3
    assert cli.trainer.optimizers[0].param_groups[0]["lr"] < 1e-4
    code, line = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "5")
    assert code == 2
    assert "has one length, here 15 steps and not 25" in line


def test_options_of_the_weights_are_defaults_that_the_user_can_override(workdir: Path) -> None:
    main(["fit", *SHORT, "--model.dropout", "0.5", "--data.val_fraction", "0.3"])
    cli = main(["validate"])
    assert cli.model.hparams["dropout"] == 0.5
    assert len(cli.datamodule.val_set) == 1_200
    cli = main(["validate", "--data.val_fraction", "0.1"])
    assert len(cli.datamodule.val_set) == 400


def test_weights_of_another_network_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "test", "--model.num_classes", "12")
    assert code == 1
    assert "best.ckpt was made by another network" in line
    assert names(trained / "lightning_logs") == {"version_0"}


def test_a_network_of_ones_own_is_trained_tested_and_resumed(
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
    assert "was made by another network" in fail(capsys, "test", "--ckpt_path", file)[1]
    main(["test", "--ckpt_path", file, *network])
    loaded = MNISTClassifier.load_from_checkpoint(
        file, network=foreign.TwoLayers(12), weights_only=True
    )
    assert loaded.learning_rate == 0.001


def test_a_run_on_another_dataset_is_tested_on_it(
    workdir: Path, capsys: pytest.CaptureFixture[str], files: Files
) -> None:
    files.write(workdir / "data")
    main(["fit", "--trainer.max_epochs=1", "--data.dataset=FashionMNIST"])
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["dataset"] == config(run)["data"]["dataset"] == "FashionMNIST"
    assert "Ankle boot" in capsys.readouterr().out
    main(["test"])
    assert results(workdir / "lightning_logs" / "version_1")["dataset"] == "FashionMNIST"
    assert "NOTE" not in capsys.readouterr().out
    main(["test", "--data.dataset=MNIST"])
    assert "NOTE: the weights were trained on FashionMNIST" in capsys.readouterr().out
    main(["test", "--ckpt_path=pretrained", "--data.dataset=FashionMNIST"])
    assert "NOTE: the weights were trained on MNIST" in capsys.readouterr().out


def test_another_network_trains_and_is_tested(workdir: Path) -> None:
    cli = main(["fit", *SHORT, "--model.network", "mnist_lightning.DigitCNN"])
    assert isinstance(cli.model.network, DigitCNN)
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["parameters"] == 37_610
    assert any("DigitCNN[network]" in node for node in graph(run))


# --- what goes wrong


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("--data.val_fraction 1.5", 2, "--data.val_fraction is 1.5; it must be above 0"),
        ("--data.batch_size 0", 2, "--data.batch_size is 0; it must be an integer from 1"),
        ("--data.batch_size many", 2, "--data.batch_size is 'many'; it must be int"),
        ("--data.source web", 2, "--data.source is 'web'; it must be one of 'auto', 'mnist', 'sa"),
        (
            "--model.network torch.nn.Identity",
            2,
            "--model.network is 'Identity'; it must map",
        ),
        ("--model.network torch.nn.Flatten", 2, "--model.network is 'Flatten'; it must map"),
        (
            "--model.network mnist_lightning.DigitCNN --model.network.num_classes 11",
            2,
            "--model.network is 'DigitCNN'; it must map images (N, 1, 28, 28) to logits (N, 10)",
        ),
        (
            "--trainer.accumulate_grad_batches 0",
            2,
            "--trainer.accumulate_grad_batches is 0; it must be an integer from 1",
        ),
        ("--data.data_dir \udcff", 2, "is no text in UTF-8; write it otherwise"),
        ("--data.augment mnist_lightning.DigitCNN", 2, "--data.augment is 'DigitCNN'; it must map"),
        ("--data.mirrors gopher://a", 2, "--data.mirrors is 'gopher://a'; a mirror is a base URL"),
        ("--data.data_dir /proc/x", 1, "data_dir /proc/x cannot be written"),
        ("--data.data_dir /dev/null", 1, "data_dir /dev/null cannot be written"),
        ("--data.source sample --data.val_fraction 1e-9", 2, "val_fraction is 1e-09; of 4,000"),
        ("--data.split_seed -1", 2, "--data.split_seed is -1; it must be an integer from 0 to"),
        ("--model.num_classes 5", 2, "--model.num_classes is 5; the data have 10 classes"),
        ("--model.learning_rate -1", 2, "--model.learning_rate is -1.0; it must be above 0"),
        ("--model.dropout 2", 2, "--model.dropout is 2.0; it must be at least 0 and below 1"),
        ("--model.network Nothing", 2, "--model.network is 'Nothing'; it must be the path of a"),
        ("--seed_everything -1", 2, "--seed_everything is -1; it must be an integer from 0"),
        ("--trainer.max_epochs some", 2, "--trainer.max_epochs is 'some'; it must be int"),
        ("--trainer.max_epochs -5", 2, "the Trainer refuses its options: `max_epochs` must be"),
        ("--trainer.accelerator abacus", 2, "invalid accelerator name: `accelerator='abacus'`"),
        (
            "--trainer.accelerator cpu --trainer.devices 2 --trainer.strategy ddp_spawn",
            2,
            "--trainer.strategy is 'ddp_spawn'; here each process runs the command line itself",
        ),
        ("--trainer.default_root_dir /dev/null", 1, "/dev/null/lightning_logs/version_0 cannot be"),
        ("--no_such_option 1", 2, "unrecognized arguments: --no_such_option 1; add --help"),
        ("--weights_only false", 2, "unrecognized arguments: --weights_only false"),
        ("--config missing.yaml", 1, "the config file missing.yaml cannot be read (No such file"),
        ("--config=missing.yaml", 1, "the config file missing.yaml cannot be read (No such file"),
        ("--config number.yaml", 1, "the config file number.yaml has no options below 'trainer:'"),
        ("--config broken.yaml", 1, "the config file broken.yaml is no YAML: "),
        ("--config binary.yaml", 1, "the config file binary.yaml is no YAML: "),
        ("--config list.yaml", 1, "the config file list.yaml has no options"),
        ("--config wrong.yaml", 2, "does not accept option 'data.batchsize'"),
        ("--ckpt_path missing.ckpt", 1, "the checkpoint missing.ckpt does not exist"),
        ("--ckpt_path broken.yaml", 1, "broken.yaml is no checkpoint"),
        ("--ckpt_path=", 2, "--ckpt_path is ''; name best, last, pretrained or a file"),
        ("--ckpt_path last", 1, "--ckpt_path is 'last', but no run below lightning_logs"),
    ],
)
def test_bad_input_gets_one_sentence(
    workdir: Path,
    files: Files,
    args: str,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (workdir / "broken.yaml").write_text("a: [1, 2\nb: }{")
    (workdir / "binary.yaml").write_bytes(bytes(range(256)))
    (workdir / "number.yaml").write_text("trainer: 5\n")
    (workdir / "list.yaml").write_text("- 1\n- 2\n")
    (workdir / "wrong.yaml").write_text("data:\n  batchsize: 3\n")
    before = names(workdir)
    found, line = fail(capsys, "fit", *args.split())
    assert message in line
    assert found == code
    assert names(workdir) == before  # nothing was begun


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "one of {fit,validate,test,predict,export}"),
        (["fly"], "invalid choice: 'fly'"),
        (["--config", "good.yaml", "fit"], "write the subcommand first, then its options"),
    ],
)
def test_a_wrong_subcommand_gets_one_sentence(
    workdir: Path, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "good.yaml").write_text("data:\n  batch_size: 3\n")
    code, line = fail(capsys, *args)
    assert code == 2
    assert message in line


def test_mirrors_of_the_environment_are_checked(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MNIST_MIRRORS", "somewhere")
    code, line = fail(capsys, "fit")
    assert (code, line.split(";")[0]) == (2, "error: MNIST_MIRRORS is 'somewhere'")


def test_source_mnist_without_network_fails_in_one_sentence(
    workdir: Path, files: Files, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", "--data.source", "mnist", "--data.mirrors", server.url)
    assert code == 1
    assert f"{server.url}/train-images-idx3-ubyte.gz: HTTP status 404" in line
    assert "--data.source sample" in line
    assert names(workdir) == set()


def test_errors_that_nobody_foresaw_keep_their_traceback(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: MNISTClassifier, *args: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(MNISTClassifier, "training_step", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["fit", *SHORT])


def test_a_checkpoint_cannot_have_a_class_imported(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "planted.py").write_text("raise SystemExit('planted.py was imported')")
    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["network"] = {"class_path": "planted.Network"}
    content["hyper_parameters"]["_class_path"] = "planted.Model"
    content["hyper_parameters"]["_instantiator"] = "planted.instantiate"
    torch.save(content, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(trained)
        for subcommand in ("validate", "test", "predict"):
            main([subcommand])
        with pytest.warns(UserWarning, match="The dirpath has changed"):
            main(["fit", "--ckpt_path", str(path), "--trainer.max_epochs", "4"])
        shutil.rmtree(trained / "lightning_logs" / "version_3")
        shutil.copy(path, path.with_name("last.ckpt"))
        main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "4"])
    assert "planted" not in sys.modules


def test_help_is_short_and_says_what_ours_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) < 600
    words = " ".join(text.split())
    assert "--data.val_fraction VAL_FRACTION Part of the training images that validates" in words
    assert "--ckpt_path CKPT_PATH A checkpoint file; best or last, of the newest run" in words


# --- as a process


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "mnist_lightning", *args]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "MNIST_MIRRORS"}


def test_runs_as_a_module_and_is_quiet_in_a_log_file(workdir: Path) -> None:
    done = subprocess.run(
        command("fit", *SHORT), capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "Training on cpu with seed 0, into lightning_logs/version_0" or (
        torch.cuda.is_available()
    )
    assert [line.split()[0] for line in lines[1:]] == [
        "Epoch",
        "Class",
        *"0123456789",
        "Most",
        "Test",
        "Weights:",
        "Data:",
        "Run",
        "To",
    ]


def test_a_reader_that_goes_away_gets_no_traceback(workdir: Path) -> None:
    fit = " ".join(command("fit", *SHORT))
    done = subprocess.run(
        f"{fit} | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 1
    assert done.stderr.endswith("\nerror: nobody reads the output any more\n")
    assert "Traceback" not in done.stderr


def test_leaves_signals_as_they_were(workdir: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    main(["fit", *SHORT])
    assert signal.getsignal(signal.SIGTERM) == before


def test_returns_the_cli_object(fitted: Run) -> None:
    assert isinstance(fitted.cli, MNISTCLI)
    assert fitted.cli.trainer.current_epoch == 3
