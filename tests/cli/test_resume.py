"""Resuming a run with the option ``--ckpt_path``."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import SHORT, config, fail, names, results
from events import steps

from mnist_lightning import (
    MNISTClassifier,
)
from mnist_lightning.cli import MNISTCLI, main
from mnist_lightning.cli.session import Session
from mnist_lightning.runs.folder import Run

pytestmark = pytest.mark.slow


def test_last_resumes_in_the_same_run_folder(trained: Path) -> None:
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


def test_last_restores_the_best_score_from_any_working_directory(trained: Path) -> None:
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


def test_resuming_with_invalid_options_leaves_the_run_unchanged(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "lightning_logs" / "version_0"
    before = (run / "config.yaml").read_bytes()
    code, line = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.val_check_interval", "5000")
    assert code == 2
    assert "Lightning rejected these options: `val_check_interval` (5000) must be" in line
    code, _ = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "1")
    assert code == 2
    code, line = fail(capsys, "fit", "--ckpt_path", "last", "--model.learning_rate", "0.1")
    assert code == 2
    assert "--model.learning_rate is 0.1; a resumed run keeps its own, 0.001" in line
    for option, value in (("schedule", "one_cycle"), ("weight_decay", "0.1")):
        code, line = fail(capsys, "fit", "--ckpt_path", "last", f"--model.{option}", value)
        assert code == 2
        assert f"--model.{option} is" in line
        assert "a resumed run keeps its own" in line
    assert (run / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"), [("{{{", "is not valid YAML:"), ("fast", "contains no options;")]
)
def test_damaged_config_of_a_run_is_named(
    trained: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    config = trained / "lightning_logs" / "version_0" / "config.yaml"
    config.write_text(text)
    code, line = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert code == 1
    assert line.startswith(f"error: the config file lightning_logs/version_0/config.yaml {message}")
    assert config.read_text() == text


def test_weights_alone_cannot_be_resumed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained / "weights.ckpt"
    checkpoint = trained / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    torch.save({name: content[name] for name in ("state_dict", "epoch")}, path)
    status, message = fail(capsys, "fit", "--ckpt_path", str(path))
    assert status == 1
    assert message.endswith(
        "weights.ckpt contains no optimizer state, so training cannot be resumed from it"
    )
    assert names(trained / "lightning_logs") == {"version_0"}
    main(["test", "--ckpt_path", str(path)])


def test_failed_resume_does_not_remove_the_run(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "lightning_logs" / "version_0"
    (run / "config.yaml").unlink()
    fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "1")
    assert names(run / "checkpoints") == {"best.ckpt", "last.ckpt"}


def test_complete_run_is_reported_as_complete(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "--ckpt_path", "last"])
    assert "The run was already complete; raise --trainer.max_epochs" in capsys.readouterr().out


def test_results_are_removed_until_the_resumed_run_is_complete(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(session: Session) -> None:
        raise RuntimeError("killed before the test")

    monkeypatch.setattr("mnist_lightning.cli.fit.test", crash)
    with pytest.raises(RuntimeError, match="killed"):
        main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "4"])
    assert not (trained / "lightning_logs" / "version_0" / "results.json").exists()


def test_resumes_within_an_epoch(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--data.source", "sample", "--trainer.max_steps", "30"])
    capsys.readouterr()
    cli = main(["fit", "--ckpt_path", "last", "--trainer.max_steps", "50"])
    assert cli.trainer.global_step == 50
    assert capsys.readouterr().out.startswith("Resuming within epoch 2: DigitCNN")
    found = steps(workdir / "lightning_logs" / "version_0")
    assert found["train/loss"] == found["val/loss"] == found["figures/learning curves"] == [1, 2]


def test_resumes_exactly_in_double_precision(workdir: Path) -> None:
    fit = ["fit", *SHORT, "--trainer.precision=64-true"]
    main([*fit, "--trainer.max_epochs=2"])
    main(fit)
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    runs = [workdir / "lightning_logs" / f"version_{number}" for number in (0, 1)]
    paths = [run / "checkpoints" / "last.ckpt" for run in runs]
    expected, resumed = (torch.load(path, weights_only=True)["state_dict"] for path in paths)
    for name, weights in expected.items():
        assert weights.dtype == torch.float64
        assert torch.equal(resumed[name], weights)


def test_logged_test_is_not_logged_again(workdir: Path) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    before = steps(run)
    (run / "predictions.png").unlink()
    main(["fit", "--ckpt_path", "last"])  # nothing is left to train
    assert steps(run) == before
    assert {"predictions.png", "results.json"} < names(run)
    (run / "results.json").unlink()  # as if the test had been interrupted
    main(["fit", "--ckpt_path", "last"])
    assert steps(run)["test/loss"] == [1, 1]


def test_points_logged_after_the_checkpoint_are_replaced(workdir: Path) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    last = run / "checkpoints" / "last.ckpt"
    kept = last.read_bytes()
    main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "3"])
    last.write_bytes(kept)  # as if the second epoch had been interrupted before its checkpoint
    main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    found = steps(run)
    assert found["train/loss"] == found["val/loss"] == found["figures/learning curves"] == [1, 2]
    assert found["test/loss"] == [1, 2]


def test_last_uses_the_options_of_its_run(workdir: Path) -> None:
    main(["fit", *SHORT, "--data.batch_size", "50", "--model.learning_rate", "0.01"])
    cli = main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    assert cli.datamodule.batch_size == 50
    assert cli.model.learning_rate == 0.01
    assert cli.trainer.limit_train_batches == 5


def test_path_resumes_in_a_new_run_folder(trained: Path) -> None:
    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    cli = main(["fit", "--ckpt_path", str(path), "--trainer.max_epochs", "4"])
    assert cli.trainer.current_epoch == 4
    run = trained / "lightning_logs" / "version_1"
    assert config(run)["ckpt_path"] == str(path)
    assert Path(results(run)["checkpoint"]).parent.parent == run


def test_run_is_trained_by_one_process_at_a_time(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained / "lightning_logs" / "version_0"
    resume = ("fit", "--ckpt_path", "last", "--trainer.max_epochs", "4")
    before = (run / "config.yaml").read_bytes()
    other_process = Run(run, is_new=False)
    other_process.lock()
    try:
        code, line = fail(capsys, *resume)
        assert code == 1
        assert "version_0 is being trained by another process; wait for it, or start a" in line
        assert (run / "config.yaml").read_bytes() == before
        assert (run / "results.json").exists()
        main(["test"])  # only reads
        main(["fit", *SHORT])  # creates another run
    finally:
        other_process.close()
    (trained / "lightning_logs" / "version_2" / "checkpoints" / "last.ckpt").unlink()
    (trained / "lightning_logs" / "version_2" / "checkpoints" / "best.ckpt").unlink()
    cli = main(resume)
    assert cli.trainer.current_epoch == 4
    main(resume)  # the lock was released, although the CLI object still exists


def test_only_fit_uses_the_checkpoint_before_the_first_step(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(self: MNISTClassifier) -> None:
        raise RuntimeError("in the first epoch")

    with monkeypatch.context() as patch:
        patch.setattr(MNISTClassifier, "on_train_epoch_start", crash)
        with pytest.raises(RuntimeError, match="in the first epoch"):
            main(["fit", *SHORT])
    cli = main(["test"])
    assert isinstance(cli, MNISTCLI)
    weights = cli.weights
    assert weights is not None
    assert weights.path == Path("lightning_logs/version_0/checkpoints/best.ckpt")
    cli = main(["fit", "--ckpt_path", "last"])
    assert cli.trainer.current_epoch == 1
    assert results(trained / "lightning_logs" / "version_1")["epochs"] == 1


@pytest.mark.usefixtures("workdir")
def test_one_cycle_run_resumes_up_to_its_length_only(
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
    assert "has a fixed length, here 15 steps instead of 25" in line


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("options", [[], ["--trainer.enable_checkpointing=false"]])
def test_resume_hint_is_printed_only_if_last_finds_the_run(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: MNISTClassifier) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MNISTClassifier, "on_train_end", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["fit", *SHORT, *options])
    assert caught.value.code == 130
    hint = "fit --ckpt_path last" in capsys.readouterr().err
    assert hint == (not options)


def test_new_run_does_not_adopt_the_best_checkpoint_of_another(trained: Path) -> None:
    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    no_validation = "--trainer.check_val_every_n_epoch=10"
    main(["fit", "--ckpt_path", str(path), "--trainer.max_epochs=4", no_validation])
    tested = Path(results(trained / "lightning_logs" / "version_1")["checkpoint"])
    assert tested == trained / "lightning_logs" / "version_1" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("name", ["best", "lightning_logs/version_0/checkpoints/last.ckpt"])
def test_resumed_run_in_a_new_folder_keeps_its_batch_size(workdir: Path, name: str) -> None:
    main(["fit", *SHORT, "--data.batch_size=50"])
    cli = main(["fit", *SHORT, "--trainer.max_epochs=2", f"--ckpt_path={name}"])
    assert cli.datamodule.batch_size == 50
    assert main(["validate", "--data.source=sample"]).datamodule.batch_size == 128


def test_options_override_configs_wherever_these_are(workdir: Path) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    options = ["--ckpt_path=last", "--trainer.max_epochs=2"]
    cli = main(["fit", *options, "--config", str(run / "config.yaml")])
    assert cli.trainer.current_epoch == 2
    assert names(run.parent) == {"version_0"}
