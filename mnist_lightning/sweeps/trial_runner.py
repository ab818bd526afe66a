"""Executes a trial: a fit for each seed, one after the other."""

import errno
import json
import math
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from mnist_lightning.callbacks.save_history import FILE_NAME, Row, read_history
from mnist_lightning.errors import UserError
from mnist_lightning.runs.folder import find_runs
from mnist_lightning.sweeps.fit_process import FitCommand, FitProcess, format_options
from mnist_lightning.sweeps.settings import SEED, SweepSettings
from mnist_lightning.sweeps.study import ClaimedTrial


@dataclass(frozen=True)
class FitResult:
    """The result of a fit.

    Args:
        metrics: The content of ``results.json``.
        history: The rows of ``history.csv``.
    """

    metrics: dict[str, Any]
    history: list[Row]

    def objective(self, name: str) -> float:
        """Returns a metric of the best checkpoint.

        Raises:
            UserError: If the fit did not log it.
        """
        if isinstance(self.metrics.get(name), float):
            return float(self.metrics[name])
        epoch = self.metrics.get("checkpoint_epoch")
        row = next((row for row in self.history if row["epoch"] == epoch), {})
        if name in row:
            return row[name]
        names = {name for name, value in self.metrics.items() if isinstance(value, float)}
        names |= {name for row in self.history for name in row} - {"epoch", "step", "seconds"}
        raise UserError(
            f"--objective is {name!r}, which no fit logs; use one of {', '.join(sorted(names))}, "
            "and another --name"
        )


def read_result(folder: Path) -> FitResult | None:
    """Returns the result of a fit; None if it is not complete.

    Args:
        folder: The folder of the fit, with ``lightning_logs``.
    """
    for run in reversed(find_runs(folder)):
        path = run / "results.json"
        if path.exists():
            metrics = json.loads(path.read_text(encoding="utf-8"))
            return FitResult(metrics, read_history(run / FILE_NAME))
    return None


class TrialRunner:
    """Executes a trial step by step, so that a process can execute several at the same time.

    Args:
        claimed: The trial.
        settings: The settings of the sweep.
        command: How to start its fits.
        seed: Seed of its first fit.
        slot: Index among the trials that run in parallel.
    """

    def __init__(
        self,
        claimed: ClaimedTrial,
        settings: SweepSettings,
        command: FitCommand,
        seed: int,
        slot: int,
    ) -> None:
        self.claimed = claimed
        self.slot = slot
        self._settings = settings
        self._command = command
        self._seed = seed
        self._results: list[FitResult] = []
        self._process: FitProcess | None = None
        self._checked_rows = 0

    def step(self) -> FrozenTrial | None:
        """Starts the next fit if none is running.

        Returns:
            The trial if it has ended, or else None.
        """
        if self._process is not None:
            exit_code = self._process.exit_code()  # before the history, which is complete then
            if self._is_unpromising():
                self._process.stop()
                return self.claimed.tell(TrialState.PRUNED, reason="worse than the median")
            if exit_code is None:
                return None
            if exit_code != 0:
                return self._fail(self._process.describe_failure())
            if (result := read_result(self._process.folder)) is None:
                return self._fail("the fit has no result")
            self._results.append(result)
            self._process = None
        while (repeat := len(self._results)) < self._settings.repeats:
            folder = self.claimed.folder / f"repeat_{repeat}"
            if (result := read_result(folder)) is None:
                self._start(folder, repeat)
                return None
            self._results.append(result)
        return self._complete()

    def _start(self, folder: Path, repeat: int) -> None:
        parameters = dict(self.claimed.parameters)
        if SEED not in parameters:
            parameters[SEED] = self._seed + repeat
        options = format_options({**parameters, "test_after_fit": self._settings.test})
        self._process = FitProcess(folder, self._command, options, self.slot)

    def _is_unpromising(self) -> bool:
        """Reports the new epochs of the first fit to the pruner."""
        if self._process is None or self._results:
            return False
        trial, reported = self.claimed.trial, self.claimed.reported_epochs
        runs = find_runs(self._process.folder)
        for row in read_history(runs[-1] / FILE_NAME)[self._checked_rows :] if runs else []:
            self._checked_rows += 1
            epoch, value = int(row["epoch"]), row.get(self._settings.objective, math.nan)
            if not math.isfinite(value):
                continue
            if epoch not in reported:
                trial.report(value, epoch)
                reported.add(epoch)
            if trial.should_prune():
                return True
        return False

    def _complete(self) -> FrozenTrial:
        objective = self._settings.objective
        try:
            values = [result.objective(objective) for result in self._results]
        except UserError as error:
            trial = self._fail(str(error))
            if self.claimed.trial.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
                return trial
            raise
        if not all(map(math.isfinite, values)):
            return self._fail(f"{objective} is not finite")
        count = len(values)
        return self.claimed.tell(
            TrialState.COMPLETE,
            statistics.fmean(values),
            values=values,
            standard_error=statistics.stdev(values) / math.sqrt(count) if count > 1 else None,
            metrics=[result.metrics for result in self._results],
            seconds=sum(row["seconds"] for result in self._results for row in result.history),
        )

    def _fail(self, reason: str) -> FrozenTrial:
        if os.strerror(errno.ENOSPC) in reason:  # the trial can resume when there is space
            raise UserError(
                f"trial {self.claimed.number} stopped: {reason}; free disk space and run the same "
                "command again"
            )
        return self.claimed.tell(TrialState.FAIL, reason=reason)

    def terminate(self) -> None:
        """Asks the fit to stop; it resumes when the trial is claimed again."""
        if self._process is not None:
            self._process.terminate()

    def close(self, deadline: float) -> None:
        """Waits for the end of the fit, and releases the trial.

        Args:
            deadline: When to stop the fit by force, as ``time.monotonic()``.
        """
        if self._process is not None:
            self._process.stop(deadline)
        self.claimed.release()
