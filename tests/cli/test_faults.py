"""Faults while a command runs."""

import csv
import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import POSIX, SHORT, command, environment, fail, names, results, slashes
from events import steps
from mirror import Files, Server

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.cli import main
from mnist_lightning.runs.checkpoints import RunCheckpointIO, read_checkpoint
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger


def _full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read_only(self: Path, *args: Any, **kwargs: Any) -> Any:
    if self.suffix == ".tmp":
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return Path_open(self, *args, **kwargs)


Path_open = Path.open


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "fault", "why"),
    [
        ("os.fsync", _full_disk, "No space left on device"),
        ("pathlib.Path.open", _read_only, "Read-only file system"),
    ],
)
def test_full_or_read_only_disk_leaves_existing_files_intact(
    workdir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    fault: Callable[..., Any],
    why: str,
) -> None:
    main(["fit", *SHORT])
    run = workdir / "lightning_logs" / "version_0"
    before = {path: path.read_bytes() for path in run.rglob("*.ckpt")}
    target = "mnist_lightning.runs.checkpoints.RunCheckpointIO.save_checkpoint"
    original = RunCheckpointIO.save_checkpoint

    def with_fault(*args: Any, **kwargs: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(what, fault)
            original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(target, with_fault)
        code, line = fail(capsys, "fit", "--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert code == 1
    assert f"best.ckpt ({why}); the previous one is intact" in line
    assert {path: path.read_bytes() for path in run.rglob("*.ckpt")} == before
    assert not list(run.rglob("*.tmp"))
    cli = main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    assert cli.trainer.current_epoch == 2
    assert results(run)["epochs"] == 2


def test_a_figure_that_cannot_be_written_does_not_end_the_run(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mnist_lightning.figures.publish.write_atomically", full_disk)
    main(["fit", *SHORT, "--trainer.max_epochs=2"])
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["epochs"] == 2
    assert not list(run.glob("*.png"))
    warnings = slashes(capsys.readouterr().err).splitlines()
    path = "lightning_logs/version_0/predictions.png"
    message = f"cannot write the figure {path} (No space left on device); the run continues"
    assert warnings.count(message) == 1


def test_checkpoint_is_committed_after_its_epoch_is_logged(
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


@pytest.mark.slow
@POSIX
def test_full_disk_stops_a_run_in_one_sentence(workdir: Path) -> None:
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
        "To resume from the last complete epoch: python -m mnist_lightning fit --ckpt_path last",
        "error: cannot read or write a file of the run (File too large)",
    ]
    read_checkpoint(workdir / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt")


@POSIX
@pytest.mark.parametrize(
    ("deleted", "message"),
    [
        ("lightning_logs/version_0", "the run folder lightning_logs/version_0 was deleted during"),
        ("lightning_logs", "the run folder lightning_logs/version_0 was deleted during the run;"),
        (".", "cannot read or write ./lightning_logs/version_0/events.out.tfevents."),
    ],
)
def test_deleted_folder_stops_a_run_in_one_sentence(
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    deleted: str,
    message: str,
) -> None:
    (workdir / "project").mkdir()
    monkeypatch.chdir(workdir / "project")
    training_step = MNISTClassifier.training_step

    def delete_in_second_epoch(self: MNISTClassifier, batch: Any) -> Any:
        if self.current_epoch == 1:
            shutil.rmtree((workdir / "project" / deleted).resolve(), ignore_errors=True)
        return training_step(self, batch)

    monkeypatch.setattr(MNISTClassifier, "training_step", delete_in_second_epoch)
    code, line = fail(capsys, "fit", *SHORT, "--trainer.max_epochs=3")
    assert code == 1
    assert line.startswith(f"error: {message}")
    assert not (workdir / "project" / "lightning_logs").exists()


def refuse_locks(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Makes locking fail, as on a file system without locks."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)


@POSIX
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("args", [["fit"], ["sweep", "--space={model.dropout: [0.1]}"]])
def test_file_system_without_locks_is_one_sentence(
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    args: list[str],
) -> None:
    refuse_locks(monkeypatch, code)
    status, line = fail(capsys, *args, *SHORT)
    assert status == 1
    assert line == (
        f"error: cannot lock a file of the run ({os.strerror(code)}); choose a "
        "--trainer.default_root_dir on a file system that supports locks"
    )
    assert not list(workdir.glob("lightning_logs/version_*"))


@POSIX
def test_data_are_downloaded_to_a_file_system_without_locks(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, files: Files, server: Server
) -> None:
    refuse_locks(monkeypatch, errno.ENOLCK)
    server.serve(files.content)
    data = MNISTDataModule(source="mnist", mirrors=server.url)
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_set) == 40


def test_clock_set_back_between_epochs_changes_nothing(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, training_step = time.time, MNISTClassifier.training_step

    def set_back(self: MNISTClassifier, batch: Any) -> Any:
        monkeypatch.setattr("time.time", lambda: clock() - 3600 * self.current_epoch)
        return training_step(self, batch)

    monkeypatch.setattr(MNISTClassifier, "training_step", set_back)
    main(["fit", *SHORT, "--trainer.max_epochs=3"])
    run = workdir / "lightning_logs" / "version_0"
    assert results(run)["epochs"] == 3
    assert steps(run)["train/loss"] == [1, 2, 3]
    with (run / "history.csv").open() as file:
        assert all(0 < float(row["seconds"]) < 60 for row in csv.DictReader(file))


@pytest.mark.parametrize("symptom", ["train/loss is nan", "val/loss is nan", "a weight is NaN"])
def test_diverged_training_stops_and_keeps_the_previous_checkpoint(
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    symptom: str,
) -> None:
    validation = ["--trainer.limit_val_batches", str(int("val" in symptom))]
    main(["fit", *SHORT, *validation])
    run = workdir / "lightning_logs" / "version_0"
    files = [run / "checkpoints" / "last.ckpt", run / "config.yaml", run / "results.json"]
    before = [file.read_bytes() for file in files]
    training_step, validation_step = MNISTClassifier.training_step, MNISTClassifier.validation_step

    def broken_training_step(self: MNISTClassifier, batch: Any) -> Any:
        loss = training_step(self, batch)
        if "train" in symptom:
            self.train_metrics["loss"].update(torch.tensor(torch.nan), 0)
        if "weight" in symptom and self.train_metrics["loss"].update_count == 5:
            next(self.parameters()).data.fill_(torch.inf)  # after the last loss of the epoch
        return loss

    def broken_validation_step(self: MNISTClassifier, batch: Any) -> Any:
        logits = validation_step(self, batch)
        if "val" in symptom:
            self.val_metrics["loss"].update(torch.tensor(torch.nan), 0)
        return logits

    monkeypatch.setattr(MNISTClassifier, "training_step", broken_training_step)
    monkeypatch.setattr(MNISTClassifier, "validation_step", broken_validation_step)
    options = ["--trainer.max_epochs", "2", *validation]
    code, line = fail(capsys, "fit", "--ckpt_path", "last", *options)
    assert code == 1
    assert line.startswith(f"error: training diverged in epoch 2: {symptom}")
    assert "most likely the learning rate of 0.001 is too high" in line
    assert [file.read_bytes() for file in files] == before


def test_nan_metrics_are_not_written_as_results(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained / "lightning_logs" / "version_0" / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["network.head.4.bias"][0] = torch.nan
    torch.save(content, path)
    code, line = fail(capsys, "test")
    assert code == 1
    assert (
        f"test/loss is nan with the weights of {path.relative_to(trained)}; choose other weights"
        in line
    )
    assert not list(trained.glob("lightning_logs/version_1/results.json"))


def test_source_mnist_without_internet_fails_in_one_sentence(
    workdir: Path, files: Files, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = fail(capsys, "fit", "--data.source", "mnist", "--data.mirrors", server.url)
    assert code == 1
    assert f"{server.url}/train-images-idx3-ubyte.gz: HTTP status 404" in line
    assert "--data.source sample" in line
    assert names(workdir) == set()


def test_unexpected_errors_keep_their_traceback(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: MNISTClassifier, *args: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(MNISTClassifier, "training_step", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["fit", *SHORT])


@pytest.mark.slow
def test_checkpoint_cannot_import_a_class(
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
            main(["fit", "--ckpt_path", str(path), "--trainer.max_epochs", "4"])
        shutil.rmtree(trained / "lightning_logs" / "version_3")
        shutil.copy(path, path.with_name("last.ckpt"))
        main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "4"])
    assert "planted" not in sys.modules


@pytest.mark.slow
@POSIX
def test_closed_output_pipe_is_one_sentence(workdir: Path) -> None:
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
    assert done.stderr.endswith("\nerror: the output pipe was closed\n")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_unwritable_home_and_temporary_folder_do_not_prevent_a_run(workdir: Path) -> None:
    folders = dict.fromkeys(("HOME", "MPLCONFIGDIR", "TMPDIR", "XDG_CACHE_HOME"), "/proc/none")
    done = subprocess.run(
        command("fit", *SHORT),
        capture_output=True,
        text=True,
        check=False,
        env={**environment(), **folders},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {"results.json", "predictions.png"} <= names(workdir / "lightning_logs" / "version_0")


@POSIX
@pytest.mark.long
def test_fit_uses_less_than_2_gib_of_memory(workdir: Path, mnist_mirror: str) -> None:
    fit = command("fit", "--trainer.max_epochs=1", f"--data.mirrors={mnist_mirror}")
    process = subprocess.Popen(fit, stdout=subprocess.DEVNULL, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss * 1024 < 2 * 2**30
    assert results(workdir / "lightning_logs" / "version_0")["dataset"] == "MNIST"
