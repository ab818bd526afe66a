"""Runs in processes of their own that are interrupted and resumed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import FIGURE_FILES
from events import scalars, steps
from tensorboard.summary.writer.record_writer import RecordWriter

from mnist_lightning import MNISTDataModule
from mnist_lightning.cli import main
from mnist_lightning.data.datasets import DATASETS

# All kinds of randomness and state: order, dropout, distortion, batch normalization, schedule.
FIT = [
    "fit",
    "--data.source=sample",
    "--data.augment=mnist_lightning.RandomDistortion",
    "--data.augment.rotation=9",
    "--model.batch_norm=true",
    "--model.schedule=one_cycle",
    "--trainer.max_epochs=4",
]
STEPS = 25  # per epoch of the sample
RESUME = ["fit", "--ckpt_path=last"]

# Kills itself the n-th time that a file is flushed to disk or renamed. A file being flushed is
# truncated to half its size.
KILLER = """
import os, pathlib, signal, sys
from mnist_lightning import MNISTDataModule
from mnist_lightning.cli import main

left = int(sys.argv.pop(1))
fsync, replace = os.fsync, pathlib.Path.replace

def count(fd=None):
    global left
    left -= 1
    if left == 0:
        if fd is not None:
            os.ftruncate(fd, os.fstat(fd).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

def counting_fsync(fd):
    count(fd)
    fsync(fd)

def counting_replace(self, target):
    count()
    return replace(self, target)

os.fsync, pathlib.Path.replace = counting_fsync, counting_replace
if sys.argv[1] == "download":
    MNISTDataModule(source="mnist", mirrors=sys.argv[2]).prepare_data()
else:
    main()
print(-left, "times")
"""


def start(folder: Path, args: list[str], kill_at: int | None = None) -> subprocess.Popen[str]:
    """Starts the command line in a folder."""
    folder.mkdir(exist_ok=True)
    program = ["-m", "mnist_lightning"] if kill_at is None else ["-c", KILLER, str(kill_at)]
    environment = {name: value for name, value in os.environ.items() if name != "MNIST_MIRRORS"}
    return subprocess.Popen(
        [sys.executable, *program, *args],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_signals,
    )


def restore_signals() -> None:
    """Undoes that a script in the background, or nohup, ignores signals for the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for_training(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().startswith(("Training ", "Resuming "))


def wait_for_epoch_2(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    while not process.stdout.readline().startswith("Epoch 2/"):
        pass


def outcome(folder: Path) -> dict[str, Any]:
    """Returns everything that a complete run writes: weights, states, curves, figures, results."""
    run = max((folder / "lightning_logs").iterdir(), key=lambda path: path.name)
    found: dict[str, Any] = {}
    for name in ("best", "last"):
        checkpoint = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        callbacks = checkpoint.pop("callbacks")
        best = callbacks["mnist_lightning.best"]
        found[name] = {
            key: checkpoint[key]
            for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
        }
        found[name]["best"] = best["best_model_score"], Path(best["best_model_path"]).name
        found[name]["curves"] = [
            state["history"] for state in callbacks.values() if "history" in state
        ]
    # An interrupted test is logged again, at the same step.
    found["scalars"] = {name: sorted(set(points)) for name, points in scalars(run).items()}
    # A resumed run draws its first training images again.
    tag = "figures/training images"
    found["figures"] = {name: sorted(set(at)) for name, at in steps(run).items() if name != tag}
    for picture in FIGURE_FILES - {"training_images.png"}:
        found[picture] = (run / picture).read_bytes()
    found["results"] = (run / "results.json").read_text().replace(str(run), "")
    found["config"] = (run / "config.yaml").read_text()
    return found


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Returns where two outcomes are not bit-identical."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [line for key in one for line in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, type(one)) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, pair in pairs for line in differences(*pair, f"{place}/{i}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [place]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int, float]:
    """A run without interruption: its outcome, its number of writes, and its duration."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, FIT, kill_at=-1)
    wait_for_training(process)
    began = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return outcome(folder), int(out.split()[-2]), time.monotonic() - began


def has_checkpoint(folder: Path) -> bool:
    """Returns whether a run has saved its first checkpoint."""
    return any(folder.glob("lightning_logs/*/checkpoints/*.ckpt"))


def check_lost_epochs(folder: Path, out: str) -> None:
    """Checks that at most one of the printed epochs is lost."""
    finished = sum(line.startswith("Epoch ") for line in out.splitlines())
    if has_checkpoint(folder):
        (path,) = folder.glob("lightning_logs/*/checkpoints/last.ckpt")
        steps = torch.load(path, weights_only=True)["global_step"]
        assert steps >= (finished - 1) * STEPS
    else:
        assert finished == 0


def resume(folder: Path) -> None:
    """Resumes a run that was killed, or starts it if it has no checkpoint."""
    process = start(folder, RESUME if has_checkpoint(folder) else FIT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_result(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], int, float]
) -> None:
    expected, writes, _ = undisturbed
    process = start(tmp_path, FIT, kill_at=writes // 2)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    check_lost_epochs(tmp_path, out)
    resume(tmp_path)
    assert differences(expected, outcome(tmp_path)) == []


@pytest.mark.slow
def test_checkpoint_is_committed_when_its_epoch_can_be_read(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = workdir / "lightning_logs" / "version_0"
    shown: list[dict[str, list[int]]] = []
    replace, write = Path.replace, RecordWriter.write

    def write_slowly(self: RecordWriter, data: bytes) -> None:
        time.sleep(0.05)
        write(self, data)

    def watch(self: Path, target: Path) -> Path:
        if target.name == "last.ckpt":
            shown.append(steps(run))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    monkeypatch.setattr(RecordWriter, "write", write_slowly)  # as on a busy machine
    short = ["--data.source=sample", "--trainer.max_epochs=2", "--trainer.limit_train_batches=2"]
    main(["fit", *short])
    _, first, last = shown  # the first checkpoint precedes the first epoch
    assert first["figures/learning curves"] == first["val/loss"] == [1]
    of_the_test = {"test/acc", "test/loss", *(name for name in steps(run) if ", test" in name)}
    assert last == {name: at for name, at in steps(run).items() if name not in of_the_test}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code", "message"),
    [
        ("SIGINT", 130, "stopped by Ctrl-C"),
        ("SIGTERM", 143, "stopped by SIGTERM"),
        ("SIGHUP", 129, "stopped because the terminal was closed"),
    ],
)
def test_stopped_run_draws_its_figures_and_can_be_resumed(
    tmp_path: Path,
    undisturbed: tuple[dict[str, Any], int, float],
    signum: str,
    code: int,
    message: str,
) -> None:
    process = start(tmp_path, FIT)
    wait_for_epoch_2(process)
    process.send_signal(signal.Signals[signum])
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == code
    assert err.splitlines() == [
        "To resume from the last complete epoch: python -m mnist_lightning fit --ckpt_path last",
        f"error: {message}",
    ]
    run = tmp_path / "lightning_logs" / "version_0"
    assert {path.name for path in run.glob("*.png")} == FIGURE_FILES
    assert not (run / "results.json").exists()
    resume(tmp_path)
    expected, _, _ = undisturbed
    found = outcome(tmp_path)
    # Figures of the end are also drawn when the run is stopped.
    assert {"/figures/figures/filters"} <= {*differences(expected, found)}
    found["figures"] = expected["figures"]
    assert differences(expected, found) == []


@pytest.mark.slow
def test_run_in_a_terminal_that_closes_can_be_resumed(tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    terminal, stream = pty.openpty()

    def use_terminal() -> None:
        restore_signals()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_lightning", *FIT],
        cwd=tmp_path,
        stdin=stream,
        stdout=stream,
        stderr=stream,
        start_new_session=True,
        preexec_fn=use_terminal,
    )
    os.close(stream)
    output = b""
    while b"Epoch 2/" not in output:
        output += os.read(terminal, 1000)
    os.close(terminal)
    assert process.wait(20) == 129
    run = tmp_path / "lightning_logs" / "version_0"
    assert {path.name for path in run.glob("*.png")} == FIGURE_FILES
    resume(tmp_path)
    assert (run / "results.json").exists()


@pytest.mark.slow
def test_nohup_continues_after_the_terminal_is_closed(tmp_path: Path) -> None:
    args = ["nohup", sys.executable, "-m", "mnist_lightning", *FIT]
    process = subprocess.Popen(args, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    wait_for_training(process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
def test_suspended_run_continues_to_the_same_result(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], int, float]
) -> None:
    process = start(tmp_path, FIT)
    wait_for_epoch_2(process)
    os.kill(process.pid, signal.SIGSTOP)  # as Ctrl-Z, which needs a terminal
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    time.sleep(0.5)
    process.send_signal(signal.SIGCONT)  # fg
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    expected, _, _ = undisturbed
    assert differences(expected, outcome(tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stalled_download_can_be_stopped(tmp_path: Path, signum: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = f"--data.mirrors=http://127.0.0.1:{silent.getsockname()[1]}"
        process = start(tmp_path, ["fit", mirror])
        connection, _ = silent.accept()
        process.send_signal(signum)
        began = time.monotonic()
        _, err = process.communicate(timeout=20)
        connection.close()
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + signum
    assert err.splitlines()[-1].startswith("error: stopped by ")
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())  # no run was started, and nothing was downloaded


@pytest.mark.long
@pytest.mark.parametrize("part", range(20))
def test_run_killed_at_any_moment_resumes_to_the_same_result(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], int, float], part: int
) -> None:
    expected, writes, seconds = undisturbed
    if part % 2:  # while it is writing
        kill_at = 1 + int(writes * (part - 1 + 2 * random.random()) / 20)
        process = start(tmp_path, FIT, kill_at)
    else:
        process = start(tmp_path, FIT)
        wait_for_training(process)
        # The undisturbed run may have been slower.
        time.sleep(0.6 * seconds * (part + 2 * random.random()) / 20)
        process.kill()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    check_lost_epochs(tmp_path, out)
    if part % 3 == 0 and has_checkpoint(tmp_path):  # again, unless it completes first
        start(tmp_path, RESUME, kill_at=random.randint(1, 12)).communicate(timeout=120)
    resume(tmp_path)
    assert differences(expected, outcome(tmp_path)) == []


@pytest.mark.long
@pytest.mark.parametrize("kill_at", range(1, 9))  # each of four files is flushed and renamed
def test_killed_download_is_repeated(tmp_path: Path, mnist_mirror: str, kill_at: int) -> None:
    process = start(tmp_path, ["download", mnist_mirror], kill_at)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    data = MNISTDataModule(str(tmp_path / "data"), source="mnist", mirrors=mnist_mirror)
    data.prepare_data()
    data.setup("fit")
    assert len(data.train_set) + len(data.val_set) == 60_000
    names = {path.name for path in (tmp_path / "data" / "MNIST" / "raw").iterdir()}
    assert set(DATASETS["MNIST"].files) <= names
