"""Processes of fits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import POSIX
from filelock import FileLock

from mnist_lightning.errors import UserError
from mnist_lightning.sweeps import fit_process
from mnist_lightning.sweeps.fit_process import FitCommand, FitProcess, format_options

COMMAND = FitCommand(("m", "d"), "data: {}", jobs=1)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> Path:
    """A module that is executed in place of the fits."""
    module = workdir / "path" / "mnist_lightning" / "sweeps" / "trial.py"
    module.parent.mkdir(parents=True)
    for folder in module.parents[:2]:
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(workdir / "path")
    return module


def run(folder: Path, *options: str) -> FitProcess:
    process = FitProcess(folder, COMMAND, options, slot=0)
    while process.exit_code() is None:
        time.sleep(0.01)
    return process


def test_fits_at_the_same_time_share_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = FitCommand(("m", "d"), "", jobs=3)
    environments = [command.environment(slot) for slot in range(3)]
    assert [environment["OMP_NUM_THREADS"] for environment in environments] == ["2"] * 3
    assert [env["CUDA_VISIBLE_DEVICES"] for env in environments] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert [command.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["5", "3"]
    assert FitCommand(("m", "d"), "", jobs=100).environment(0)["OMP_NUM_THREADS"] == "1"


def test_a_single_fit_has_the_environment_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_FIT__MODEL__DROPOUT", "0.5")
    environment = COMMAND.environment(0)
    assert "PL_FIT__MODEL__DROPOUT" not in environment
    for name, value in os.environ.items():
        if name != "PYTHONPATH" and not name.startswith("PL_"):
            assert environment[name] == value
    assert environment["PYTHONPATH"].split(os.pathsep) == [path for path in sys.path if path]


def test_parameters_as_options() -> None:
    parameters = {"a.b": 1e-05, "c": None, "d": True, "e": "one_cycle", "f": '{"x": [1]}'}
    assert format_options(parameters) == [
        "--a.b=1e-05",
        "--c=null",
        "--d=true",
        "--e=one_cycle",
        '--f={"x": [1]}',
    ]


def test_a_fit_starts_with_the_config_and_resumes_without_it(tmp_path: Path, program: Path) -> None:
    program.write_text("import sys; print(sys.argv[1:])")
    folder = tmp_path / "fit"
    run(folder, "--model.dropout=0.5")
    root = f"--trainer.default_root_dir={folder}"
    started = ["m", "d", "fit", f"--config={folder / 'recipe.yaml'}", "--model.dropout=0.5", root]
    assert (folder / "output.txt").read_text() == f"{started}\n"
    assert (folder / "recipe.yaml").read_text() == "data: {}"
    incomplete = folder / "lightning_logs" / "version_0"
    incomplete.mkdir(parents=True)  # without a checkpoint
    run(folder, "--model.dropout=0.5")
    assert not incomplete.exists()
    (incomplete / "checkpoints").mkdir(parents=True)
    (incomplete / "checkpoints" / "last.ckpt").touch()
    run(folder, "--model.dropout=0.5")
    resumed = ["m", "d", "fit", "--ckpt_path=last", root]
    assert (folder / "output.txt").read_text() == f"{started}\n{started}\n{resumed}\n"


def test_ctrl_c_does_not_reach_the_fits_on_windows(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write_text("")
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    flags = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, args: list[str], *, creationflags: int, **options: Any) -> None:
            flags.append(creationflags)
            super().__init__(args, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    run(tmp_path / "fit")
    assert flags == [512]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('error: too few images', 'then more', sep='\\n'); exit(1)", "too few images"),
        ("raise RuntimeError('no idea')", "RuntimeError: no idea"),
        ("exit(3)", "exit status 3"),
        pytest.param("import os; os.kill(os.getpid(), 15)", "killed by SIGTERM", marks=POSIX),
        pytest.param("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL, perh", marks=POSIX),
    ],
)
def test_reason_of_a_failure(tmp_path: Path, program: Path, code: str, reason: str) -> None:
    program.write_text(code)
    assert run(tmp_path / "fit").describe_failure().startswith(reason)


@POSIX
def test_a_process_that_ignores_sigterm_is_killed(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_process, "SECONDS_TO_STOP", 0.2)
    program.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    process = FitProcess(tmp_path / "fit", COMMAND, [], slot=0)
    while "ready" not in (tmp_path / "fit" / "output.txt").read_text():
        assert process.exit_code() is None
        time.sleep(0.01)
    process.stop()
    assert process.exit_code() == -signal.SIGKILL


def test_waits_until_the_process_of_an_earlier_sweep_has_ended(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write_text("")
    checkpoint = tmp_path / "fit" / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    monkeypatch.setattr(fit_process, "SECONDS_TO_UNLOCK", 0.2)
    message = "is being trained by another process; stop it and run"
    with FileLock(checkpoint.parents[1] / ".lock"), pytest.raises(UserError, match=message):
        FitProcess(tmp_path / "fit", COMMAND, [], slot=0)
    assert run(tmp_path / "fit").exit_code() == 0


@pytest.mark.slow
@POSIX
def test_the_process_of_a_fit_ends_when_its_input_is_closed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"waiting\n"
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(5) == -signal.SIGTERM
    process.stdout.close()


WAIT = """
import threading, time
from mnist_lightning.sweeps.trial import stop_with_parent
threading.Thread(target=stop_with_parent, daemon=True).start()
print("waiting", flush=True)
time.sleep(60)
"""
