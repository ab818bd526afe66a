"""The metrics and the duration of an epoch."""

import time
from typing import Any

from lightning.pytorch import Trainer


class EpochRecord:
    """Records the duration of an epoch and the metrics that are logged in it.

    Args:
        trainer: The Trainer at the start of the epoch.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._start_seconds = time.perf_counter()
        self._previous: dict[str, Any] = dict(trainer.callback_metrics)

    def seconds(self) -> float:
        """Returns the duration of the epoch until now."""
        return time.perf_counter() - self._start_seconds

    def metrics(self, trainer: Trainer) -> dict[str, float]:
        """Returns the metrics that were logged in this epoch.

        Without a validation in this epoch, ``callback_metrics`` also holds those of an earlier one.
        """
        return {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if value is not self._previous.get(name)
        }
