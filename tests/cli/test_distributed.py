"""Runs of several processes on this machine, as Lightning starts them.

Each process executes the same command line, so each test starts a process of its own.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
from mirror import Server, sending

from mnist_lightning import MNISTClassifier
from mnist_lightning.data.datasets import DATASETS

TWO = ["--trainer.strategy=ddp", "--trainer.devices=2"]
LOST = "the processes of this run cannot reach each other: "
SHORT = ["--data.source=sample", "--trainer.limit_train_batches=5"]
# Runs a command line; the first process saves the metrics.
SCRIPT = """
import json, sys
from pathlib import Path
from mnist_lightning.cli import main

cli = main(sys.argv[1:])
if cli.trainer.is_global_zero:
    metrics = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    Path("metrics.json").write_text(json.dumps(metrics))
"""
# One step of gradient descent; each process saves its batch, the first one also the gradient.
STEP = """
import sys
import torch
from lightning.pytorch import Trainer, seed_everything
from mnist_lightning import MNISTClassifier, MNISTDataModule

class Model(MNISTClassifier):
    def training_step(self, batch):
        torch.save(batch, f"batch_{self.global_rank}.pt")
        return super().training_step(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

seed_everything(0)
model = Model(dropout=0.0)
before = {name: value.clone() for name, value in model.named_parameters()}
trainer = Trainer(
    accelerator="cpu", strategy="ddp", devices=2, max_epochs=1, limit_train_batches=1,
    limit_val_batches=0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
)
trainer.fit(model, MNISTDataModule(source="sample"))
if trainer.is_global_zero:
    torch.save({name: before[name] - value.detach() for name, value in model.named_parameters()},
               "gradients.pt")
torch.distributed.destroy_process_group()  # as the command line does, or Python may abort
"""

# The first process sends itself SIGTERM while it draws a figure and the other one waits for it.
STOPPED = """
import os, signal, sys, time
from mnist_lightning import PredictionGrid
from mnist_lightning.cli import main

draw = PredictionGrid.draw

def stop(*args):
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    return draw(*args)

PredictionGrid.draw = stop
main(sys.argv[1:])
"""


def start(folder: Path, script: str, *args: str, **variables: str) -> subprocess.Popen[str]:
    """Starts a script in a folder, with environment variables."""
    (folder / "script.py").write_text(script)
    command = [sys.executable, "script.py", *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def run(folder: Path, script: str, *args: str) -> str:
    """Runs a script in a folder and returns its output."""
    process = start(folder, script, *args)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out


def metrics(folder: Path, *args: str) -> dict[str, float]:
    """Runs a command line and returns the metrics."""
    run(folder, SCRIPT, *args)
    found: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return found


def weights(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)["state_dict"]
    return found


@pytest.mark.slow
def test_counts_each_image_once(tmp_path: Path) -> None:
    odd = "--data.val_fraction=0.20025"  # 801 images
    metrics(tmp_path, "fit", *SHORT, "--trainer.max_epochs=1")
    for subcommand in ("validate", "test"):
        args = [subcommand, "--ckpt_path=lightning_logs/version_0/checkpoints/best.ckpt", odd]
        one, two = metrics(tmp_path, *args), metrics(tmp_path, *args, *TWO)
        part = "val" if subcommand == "validate" else "test"
        assert two[f"{part}/acc"] == one[f"{part}/acc"]
        assert two[f"{part}/loss"] == pytest.approx(one[f"{part}/loss"], abs=1e-5)


@pytest.mark.slow
def test_all_processes_test_the_best_epoch(tmp_path: Path) -> None:
    epochs = [
        "--trainer.max_epochs=3",
        "--trainer.check_val_every_n_epoch=2",
    ]  # the best epoch is not the last
    two = metrics(tmp_path, "fit", *SHORT, *epochs, *TWO)
    one = metrics(tmp_path, "test", "--data.source=sample")
    assert two["test/acc"] == one["test/acc"]
    assert two["test/loss"] == pytest.approx(one["test/loss"], abs=1e-5)


@pytest.mark.slow
def test_gradients_are_those_of_the_complete_batch(tmp_path: Path) -> None:
    run(tmp_path, STEP)
    batches = [torch.load(tmp_path / f"batch_{rank}.pt", weights_only=True) for rank in (0, 1)]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert len(images) == 128  # batch_size, over both processes
    assert len({image.numpy().tobytes() for image in images}) == 128
    torch.manual_seed(0)
    model = MNISTClassifier(dropout=0.0)
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, [*model.parameters()])
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_only_the_first_process_writes_and_runs_resume_exactly(tmp_path: Path) -> None:
    undisturbed, interrupted = tmp_path / "undisturbed", tmp_path / "interrupted"
    for folder in (undisturbed, interrupted):
        folder.mkdir()
    out = run(undisturbed, SCRIPT, "fit", *SHORT, *TWO, "--trainer.max_epochs=2")
    for line in ("Training DigitCNN", "2 processes on cpu", "Test accuracy", "Run folder:"):
        assert out.count(line) == 1
    assert [path.name for path in (undisturbed / "lightning_logs").iterdir()] == ["version_0"]
    run(interrupted, SCRIPT, "fit", *SHORT, *TWO, "--trainer.max_epochs=1")
    run(interrupted, SCRIPT, "fit", *SHORT, *TWO, "--trainer.max_epochs=2", "--ckpt_path=last")
    runs = [folder / "lightning_logs" / "version_0" for folder in (undisturbed, interrupted)]
    first, second = (weights(path / "checkpoints" / "last.ckpt") for path in runs)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    names = {path.name for path in runs[0].iterdir() if "tfevents" not in path.name}
    assert {"config.yaml", "results.json", "confusion_matrix.png", "curves.png"} <= names
    assert names == {path.name for path in runs[1].iterdir() if "tfevents" not in path.name}
    for name in sorted(names):
        if name.endswith(".png") and name != "training_images.png":  # drawn again
            assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes(), name


@pytest.fixture
def mnist_server(server: Server, mnist_mirror: str) -> Server:
    """A mirror of MNIST on this machine that counts requests."""
    for name in DATASETS["MNIST"].files:
        with urlopen(f"{mnist_mirror}{name}.gz") as answer:
            server.answers[f"/{name}.gz"] = sending(answer.read())
    return server


@pytest.mark.slow
def test_only_one_process_downloads(tmp_path: Path, mnist_server: Server) -> None:
    args = ["--data.source=mnist", f"--data.mirrors={mnist_server.url}", "--trainer.max_epochs=1"]
    run(tmp_path, SCRIPT, "fit", *args, *TWO, "--trainer.limit_train_batches=2")
    assert sorted(mnist_server.asked) == sorted(f"/{name}.gz" for name in DATASETS["MNIST"].files)


@pytest.mark.long
@pytest.mark.parametrize(
    ("rank", "sent", "statuses"),
    [
        (0, "SIGKILL", [-9]),
        (1, "SIGKILL", [1, -9]),  # the launcher may kill it before it reports the error
        (0, "SIGTERM", [143]),
        (1, "SIGTERM", [1, -9]),
    ],
)
def test_stopping_one_process_ends_the_other(
    tmp_path: Path, rank: int, sent: str, statuses: list[int]
) -> None:
    args = ["--data.source=sample", *TWO, "--trainer.max_epochs=1000"]
    process = start(tmp_path, SCRIPT, "fit", *args)
    try:
        wait_for_epoch(tmp_path)
        other = next(child for child in children(process.pid) if b"script.py" in command_of(child))
        stopped, left = (process.pid, other) if rank == 0 else (other, process.pid)
        os.kill(stopped, signal.Signals[sent])
        deadline = time.monotonic() + 60
        while runs(left):
            assert time.monotonic() < deadline, "the other process is still running"
            process.poll()
            time.sleep(0.1)
        assert process.wait(5) in statuses
    finally:
        process.kill()
        _, err = process.communicate()
    assert "Traceback" not in err
    is_lost = process.returncode == 1 or (rank, sent) == (0, "SIGKILL")
    assert is_lost == (f"error: {LOST}" in err)
    if process.returncode > 0:
        assert "python -m mnist_lightning fit --ckpt_path last\n" in err
    run(tmp_path, SCRIPT, "fit", "--ckpt_path=last", "--trainer.max_epochs=1", *TWO)


@pytest.mark.long
def test_sigterm_does_not_wait_for_the_other_process(tmp_path: Path) -> None:
    process = start(tmp_path, STOPPED, "fit", "--data.source=sample", *TWO)
    try:
        _, err = process.communicate(timeout=60)  # the other process also holds the pipe open
    finally:
        process.kill()
    assert process.returncode == 143
    assert err.count("error") == err.count("error: stopped by SIGTERM\n") == 1


@pytest.mark.slow
def test_processes_that_cannot_connect_are_all_ended(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(tmp_path, SCRIPT, "fit", *SHORT, *TWO, MASTER_PORT=str(port))
        try:
            _, err = process.communicate(timeout=60)  # the other process also holds the pipe open
        finally:
            process.kill()
    assert process.returncode == 1
    assert re.search(f"^error: {LOST}.*EADDRINUSE", err, re.MULTILINE)
    assert not (tmp_path / "lightning_logs").exists()


def wait_for_epoch(folder: Path) -> None:
    """Waits until a run can be resumed."""
    deadline = time.monotonic() + 60
    while not (folder / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def runs(pid: int) -> bool:
    """Returns whether a process is running and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def start_machines(folders: list[Path], *args: str) -> list[subprocess.Popen[bytes]]:
    """Starts a run as on two machines, each in its folder; replaces ``{rank}`` in arguments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank, folder in enumerate(folders):
        torchrun = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        torchrun += [f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        fit = ["-m", "mnist_lightning", "fit", "--trainer.strategy=ddp", "--trainer.num_nodes=2"]
        command = [sys.executable, *torchrun, *fit, *(arg.format(rank=rank) for arg in args)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (folder / f"log_{rank}").open("w") as log:
            nodes.append(
                subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            )
    return nodes


def wait_for(nodes: list[subprocess.Popen[bytes]], seconds: float) -> list[int]:
    """Returns the exit statuses of all processes, which must end within this time."""
    deadline = time.monotonic() + seconds
    try:
        return [node.wait(deadline - time.monotonic()) for node in nodes]
    finally:
        for node in nodes:
            node.kill()


@pytest.mark.long
@pytest.mark.parametrize("shared", [False, True])
def test_two_machines(tmp_path: Path, mnist_server: Server, shared: bool) -> None:
    folders = [tmp_path / f"node_{rank}" for rank in (0, 1)]
    for folder in folders:
        folder.mkdir()
    data = tmp_path / "data" if shared else tmp_path / "node_{rank}" / "data"
    args = [f"--data.data_dir={data}", f"--data.mirrors={mnist_server.url}"]
    nodes = start_machines(folders, *args, "--data.source=mnist", "--trainer.max_epochs=1")
    logs = [folder / f"log_{rank}" for rank, folder in enumerate(folders)]
    assert wait_for(nodes, 200) == [0, 0], [log.read_text() for log in logs]
    assert "Test accuracy" in logs[0].read_text()
    assert "Test accuracy" not in logs[1].read_text()
    assert (folders[0] / "lightning_logs" / "version_0" / "results.json").exists()
    assert {path.name for path in folders[1].iterdir()} == (
        {"log_1"} if shared else {"log_1", "data"}
    )


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_killing_one_machine_ends_the_other(tmp_path: Path, rank: int) -> None:
    folders = [tmp_path, tmp_path]  # both need access to the run to resume it
    nodes = start_machines(folders, "--data.source=sample", "--trainer.max_epochs=1000")
    try:
        wait_for_epoch(tmp_path)
        os.kill(next(iter(children(nodes[rank].pid))), signal.SIGKILL)
    finally:
        statuses = wait_for(nodes, 60)
    assert 0 not in statuses
    survivor = (tmp_path / f"log_{1 - rank}").read_text()
    assert f"error: {LOST}" in survivor
    nodes = start_machines(folders, "--ckpt_path=last", "--trainer.max_epochs=1")
    assert wait_for(nodes, 60) == [0, 0], (tmp_path / "log_0").read_text()
    assert (tmp_path / "lightning_logs" / "version_0" / "results.json").exists()


@pytest.mark.slow
def test_batch_size_must_be_divisible_by_the_number_of_processes(tmp_path: Path) -> None:
    process = start(tmp_path, SCRIPT, "fit", *SHORT, *TWO, "--data.batch_size=101")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert err == (
        "error: --data.batch_size is 101; it must be a multiple of 2, the number of processes\n"
    )
    assert not (tmp_path / "lightning_logs").exists()
