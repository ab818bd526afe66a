"""Executes the trials of a sweep."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial

from mnist_lightning.errors import UserError
from mnist_lightning.runs.folder import LOGS
from mnist_lightning.sweeps.fit_process import (
    SECONDS_TO_STOP,
    FitCommand,
    FitProcess,
    format_options,
)
from mnist_lightning.sweeps.progress import Progress
from mnist_lightning.sweeps.settings import SEED, SweepSettings
from mnist_lightning.sweeps.space import Range
from mnist_lightning.sweeps.storage import open_storage, storage_errors
from mnist_lightning.sweeps.study import SweepStudy
from mnist_lightning.sweeps.trial_runner import FitResult, TrialRunner, read_result

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Sweep:
    """A sweep that this process executes, or helps to execute.

    Args:
        settings: Its options.
        config: The options of its fits.
        root: The folder with ``lightning_logs``.
        name: Its name.
        classes: The paths of the classes of model and data.
    """

    settings: SweepSettings
    config: dict[str, Any]
    root: Path
    name: str
    classes: tuple[str, str]

    @property
    def folder(self) -> Path:
        """The folder of the sweep."""
        return self.root / LOGS / "sweeps" / self.name

    @property
    def seed(self) -> int:
        """Seed of the first fit of each trial, and of the sampler."""
        return int(self.config[SEED])

    @contextmanager
    def open(self) -> Iterator[SweepStudy]:
        """Opens the study.

        Raises:
            UserError: If the storage cannot be used, or the name belongs to another sweep.
        """
        journal = self.folder / "journal.log"
        if self.settings.storage is None:
            self.folder.mkdir(parents=True, exist_ok=True)
        storage = open_storage(self.settings.storage, journal)
        self.folder.mkdir(parents=True, exist_ok=True)
        with storage_errors(self.settings.storage):
            study = SweepStudy(storage, self.settings, self.folder, self.seed)
            study.check_config({**self.config, **asdict(self.settings), "classes": self.classes})
            yield study

    def execute(self, study: SweepStudy, print_line: Callable[[str], None]) -> None:
        """Executes trials until all have ended, or until the timeout.

        Args:
            study: The study.
            print_line: Prints a line.
        """
        progress = Progress(self.settings, print_line)
        command = self._command(self.settings.jobs)
        deadline = time.monotonic() + (self.settings.timeout or math.inf)
        runners: list[TrialRunner] = []
        may_claim = True
        try:
            while True:
                while may_claim and len(runners) < self.settings.jobs:
                    claimed = study.claim() if time.monotonic() < deadline else None
                    may_claim = claimed is not None
                    if claimed:
                        slot = min(set(range(self.settings.jobs)) - {r.slot for r in runners})
                        runners.append(
                            TrialRunner(claimed, self.settings, command, self.seed, slot)
                        )
                if not runners:
                    return
                for runner in [*runners]:
                    if trial := runner.step():
                        runners.remove(runner)
                        progress.print_trial(trial, study.trials)
                        may_claim = True
                time.sleep(POLL_SECONDS)
        finally:
            for runner in runners:
                runner.terminate()
            stop_deadline = time.monotonic() + SECONDS_TO_STOP
            for runner in runners:
                runner.close(stop_deadline)

    def train_final(self, best: FrozenTrial) -> FitResult:
        """Trains the best setting with a seed that no trial used, and tests it once.

        Raises:
            UserError: If the training fails.
        """
        folder = self.folder / f"final_trial_{best.number:04d}"
        folder.mkdir(exist_ok=True)
        with FileLock(folder / ".lock"):
            if result := read_result(folder):
                return result
            options = {**best.params, SEED: self._unused_seed(), "test_after_fit": True}
            process = FitProcess(folder, self._command(1), format_options(options), 0)
            try:
                while process.exit_code() is None:
                    time.sleep(POLL_SECONDS)
            finally:
                process.stop()
            if result := read_result(folder):
                return result
            raise UserError(f"the final training failed: {process.describe_failure()}")

    def _unused_seed(self) -> int:
        values = self.settings.parsed_space.get(SEED, [])
        seeds = [values.high] if isinstance(values, Range) else values
        return max([self.seed + self.settings.repeats - 1, *(int(seed or 0) for seed in seeds)]) + 1

    def _command(self, jobs: int) -> FitCommand:
        return FitCommand(self.classes, yaml.safe_dump(self.config), jobs)
