"""Sweeps in processes of their own that are interrupted and continued."""

import csv
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from command_line import command

SWEEP = [
    "sweep",
    "--space={model.learning_rate: {low: 1e-4, high: 0.01, log: true}, model.dropout: [0.0, 0.5]}",
    "--sampler=random",
    "--data.source=sample",
    "--data.augment=mnist_lightning.RandomDistortion",
    "--trainer.max_epochs=3",
]
STOP_SECONDS = 5.0


def start(root: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*SWEEP, *args),
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def sweep(root: Path, *args: str) -> str:
    process = start(root, *args)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return out


def rows(root: Path) -> list[dict[str, str]]:
    """Returns the trials without their times."""
    path = root / "lightning_logs" / "sweeps" / "sweep" / "trials.csv"
    with path.open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def weights(root: Path) -> list[dict[str, torch.Tensor]]:
    """Returns the last weights of each trial."""
    paths = sorted(root.glob("lightning_logs/sweeps/*/trial_*/*/lightning_logs/*/checkpoints"))
    return [torch.load(path / "last.ckpt", weights_only=True)["state_dict"] for path in paths]


def children(process: subprocess.Popen[str]) -> list[int]:
    """Returns the processes of the fits."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def wait_for(root: Path, pattern: str) -> None:
    deadline = time.monotonic() + 120
    while not any(root.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was not interrupted."""
    root = tmp_path_factory.mktemp("expected")
    sweep(root, "--trials=3")
    return root


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_a_sweep_that_is_killed_at_random_continues_exactly(
    tmp_path: Path, expected: Path, seed: int
) -> None:
    rng, exit_codes = random.Random(seed), []
    for _ in range(2):
        process = start(tmp_path, "--trials=3")
        time.sleep(rng.uniform(4, 14))
        process.kill()
        process.communicate()
        exit_codes.append(process.returncode)
    assert exit_codes[0] == -signal.SIGKILL  # it was running; the second may have finished
    sweep(tmp_path, "--trials=3")
    assert rows(tmp_path) == rows(expected)
    pairs = list(zip(weights(tmp_path), weights(expected), strict=True))
    assert len(pairs) == 3
    for continued, undisturbed in pairs:
        for name, tensor in undisturbed.items():
            assert torch.equal(continued[name], tensor)


@pytest.mark.long
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_stop_the_sweep_and_its_fits(
    tmp_path: Path, signum: int, code: int
) -> None:
    process = start(tmp_path, "--trials=4", "--jobs=2", "--trainer.max_epochs=1000")
    for trial in range(2):
        wait_for(tmp_path, f"lightning_logs/sweeps/sweep/trial_000{trial}/*/*/*/history.csv")
    fits = children(process)
    assert len(fits) == 2
    begin = time.monotonic()
    process.send_signal(signum)
    out, _ = process.communicate()
    assert time.monotonic() - begin < STOP_SECONDS
    assert process.returncode == code
    assert "To continue the sweep, run the same command again" in out
    assert not any(Path(f"/proc/{fit}").exists() for fit in fits)


@pytest.mark.long
def test_a_fit_ends_when_its_sweep_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, "--trials=1", "--trainer.max_epochs=1000")
    wait_for(tmp_path, "lightning_logs/sweeps/sweep/trial_0000/*/*/*/history.csv")
    (fit,) = children(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + STOP_SECONDS
    while Path(f"/proc/{fit}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_a_fit_that_is_killed_is_a_failed_trial(tmp_path: Path) -> None:
    process = start(tmp_path, "--trials=2")
    wait_for(tmp_path, "lightning_logs/sweeps/sweep/trial_0000/*/*/*/history.csv")
    os.kill(children(process)[0], signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    failed, complete = rows(tmp_path)
    assert (failed["state"], complete["state"]) == ("failed", "complete")
    assert failed["reason"].startswith("killed by SIGKILL")


@pytest.mark.long
def test_two_workers_share_a_journal(tmp_path: Path, expected: Path) -> None:
    options = ["--trials=6", "--prune=false"]  # pruning depends on which trial ends first
    workers = [start(tmp_path, *options) for _ in range(2)]
    outs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outs
    sweep(tmp_path, *options)
    assert [row["state"] for row in rows(tmp_path)] == ["complete"] * 6
    assert rows(tmp_path)[:3] == rows(expected)
    for worker_out in outs:
        assert worker_out.count("Trial ") > 1
