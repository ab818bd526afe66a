"""The lines that a sweep prints while it runs."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from mnist_lightning.figures.metric_axis import format_metric
from mnist_lightning.sweeps.settings import SweepSettings
from mnist_lightning.sweeps.space import to_text

STATE_NAMES = {
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def format_mean(value: float, error: float | None, metric: str) -> str:
    """Returns the mean of a metric as text, with its standard error or deviation, if any.

    Example:
        >>> format_mean(0.98912, 0.0004, "val/acc")
        '98.91% ± 0.04%'
    """
    numbers = [value] if error is None else [value, error]
    return " ± ".join(format_metric(number, metric) for number in numbers)


def format_parameters(parameters: Mapping[str, Any]) -> str:
    """Returns parameters as text, numbers with four significant digits.

    Example:
        >>> format_parameters({"model.learning_rate": 0.00123456, "model.dropout": 0})
        'model.learning_rate 0.001235, model.dropout 0'
    """
    return ", ".join(f"{name} {format_value(value)}" for name, value in parameters.items())


def format_value(value: Any) -> str:
    """Returns the value of a parameter as text."""
    return f"{value:.4g}" if isinstance(value, float) else to_text(value)


def format_seconds(seconds: float) -> str:
    """Returns a duration as text.

    Example:
        >>> [format_seconds(seconds) for seconds in (7.4, 100, 4000)]
        ['7 s', '2 min', '1.1 h']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def rank_trials(trials: Sequence[FrozenTrial], maximize: bool) -> list[FrozenTrial]:
    """Returns the complete trials, best first, equal ones by number."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: get_objective(trial) * (-1 if maximize else 1))


def get_objective(trial: FrozenTrial) -> float:
    """Returns the objective of a trial, NaN if it has none."""
    return float("nan") if trial.value is None else trial.value


class Progress:
    """Prints a line for each trial that ends, and how far the sweep is.

    Args:
        settings: The settings of the sweep.
        print_line: Prints a line.
    """

    def __init__(self, settings: SweepSettings, print_line: Callable[[str], None]) -> None:
        self._settings = settings
        self._print_line = print_line
        self._start_seconds = time.monotonic()
        self._num_ended = 0

    def print_trial(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
        """Prints a trial that ended, and the progress.

        Args:
            trial: The trial.
            trials: All trials of the sweep.
        """
        objective = self._settings.objective
        outcome = f"{STATE_NAMES[trial.state]}: {trial.user_attrs.get('reason')}"
        if trial.state == TrialState.COMPLETE:
            error = trial.user_attrs["standard_error"]
            outcome = f"{objective} {format_mean(get_objective(trial), error, objective)}"
        self._print_line(f"Trial {trial.number}: {outcome} ({format_parameters(trial.params)})")
        self._num_ended += 1
        self._print_line(self._progress(trials))

    def _progress(self, trials: Sequence[FrozenTrial]) -> str:
        total = self._settings.total_trials
        num_finished = sum(trial.state.is_finished() for trial in trials)
        ranking = rank_trials(trials, self._settings.maximize)
        text = f"  {num_finished} of {total} trials"
        if ranking and not self._settings.has_only_seeds:
            value = format_metric(get_objective(ranking[0]), self._settings.objective)
            text += f", best {value} (trial {ranking[0].number})"
        if num_finished < total:
            elapsed = time.monotonic() - self._start_seconds
            left = elapsed / self._num_ended * (total - num_finished)
            if self._settings.timeout is not None:
                left = min(left, max(0.0, self._settings.timeout - elapsed))
            text += f", about {format_seconds(left)} left"
        return text
