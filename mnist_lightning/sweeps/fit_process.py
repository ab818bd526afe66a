"""Processes that execute a fit of a trial."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from mnist_lightning.errors import UserError
from mnist_lightning.runs.folder import find_runs
from mnist_lightning.sweeps.space import to_text

IN_TRIAL = "MNIST_LIGHTNING_IN_TRIAL"  # an environment variable
SECONDS_TO_STOP = 4.0
SECONDS_TO_UNLOCK = 30.0


@dataclass(frozen=True)
class FitCommand:
    """Classes, config and environment for starting the fits of a sweep.

    Args:
        classes: The paths of the classes of model and data.
        config: The config of all fits.
        jobs: Number of fits in parallel.
    """

    classes: tuple[str, str]
    config: str
    jobs: int

    def environment(self, slot: int) -> dict[str, str]:
        """Returns the environment of a fit, without variables that set options.

        Args:
            slot: Index among the fits that run in parallel.
        """
        variables = {name: value for name, value in os.environ.items() if name[:3] != "PL_"}
        variables[IN_TRIAL] = "1"
        # The fit imports the user's classes from the same folders.
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        if self.jobs > 1:
            variables["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // self.jobs))
            if count := torch.cuda.device_count():
                visible = os.environ.get("CUDA_VISIBLE_DEVICES")
                devices = visible.split(",") if visible else [str(i) for i in range(count)]
                variables["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
        return variables


class FitProcess:
    """A fit in its own process, which resumes if it was interrupted before.

    Args:
        folder: The folder of the fit, with ``lightning_logs``.
        command: How to start it.
        options: Options for the command line, in addition to the config.
        slot: See ``FitCommand.environment``.

    Raises:
        UserError: If the process of an interrupted sweep does not end.
    """

    def __init__(
        self, folder: Path, command: FitCommand, options: Sequence[str], slot: int
    ) -> None:
        self.folder = folder
        args = self._prepare(command, options)
        root = f"--trainer.default_root_dir={folder}"
        module = [sys.executable, "-m", "mnist_lightning.sweeps.trial", *command.classes]
        self._output = folder / "output.txt"
        with self._output.open("ab") as file:
            self._start_of_output = file.tell()
            self._process = subprocess.Popen(
                [*module, "fit", *args, root],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=command.environment(slot),
                # Ctrl-C interrupts the sweep, which stops the fit; the second is for Windows.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    def _prepare(self, command: FitCommand, options: Sequence[str]) -> list[str]:
        """Returns the arguments that start the fit, or resume it.

        Waits for the process of an interrupted sweep, and deletes a run without a checkpoint.
        """
        runs = find_runs(self.folder)
        if runs:
            try:
                with FileLock(runs[-1] / ".lock", timeout=SECONDS_TO_UNLOCK):
                    pass
            except Timeout:
                raise UserError(
                    f"the run {runs[-1]} is being trained by another process; stop it and run the "
                    "same command again"
                ) from None
            if (runs[-1] / "checkpoints" / "last.ckpt").exists():
                return ["--ckpt_path=last"]
            shutil.rmtree(runs[-1])
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "recipe.yaml"
        config.write_text(command.config, encoding="utf-8")
        return [f"--config={config}", *options]

    def exit_code(self) -> int | None:
        """Returns the exit code; None while the process runs."""
        code = self._process.poll()
        if code is not None and self._process.stdin:
            self._process.stdin.close()
        return code

    def describe_failure(self) -> str:
        """Describes why the process failed."""
        code = self._process.returncode
        if code < 0:
            reason = f"killed by {signal.Signals(-code).name}"
            return f"{reason}, perhaps out of memory" if code == -9 else reason
        output = self._output.read_bytes()[self._start_of_output :]
        lines = output.decode(errors="replace").split("\n")
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        last_lines = [line for line in lines if line.strip()]
        return (errors or last_lines or [f"exit status {code}"])[-1].strip()

    def terminate(self) -> None:
        """Asks the process to stop."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self, deadline: float | None = None) -> None:
        """Stops the process, by force if it does not end by itself.

        Args:
            deadline: Until when to wait for it, as ``time.monotonic()``.
        """
        self.terminate()
        now = time.monotonic()
        try:
            self._process.wait(SECONDS_TO_STOP if deadline is None else max(0.0, deadline - now))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.exit_code()


def format_options(parameters: Mapping[str, Any]) -> list[str]:
    """Returns parameters as options of the command line."""
    return [f"--{name}={to_text(value)}" for name, value in parameters.items()]
