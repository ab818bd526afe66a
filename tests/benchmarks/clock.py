"""A callback that measures where the time of a fit goes."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

WARM_UP_STEPS = 4
"""Steps that load libraries and capture a CUDA graph; the following ones are all alike."""


class Clock(Callback):
    """Adds up the seconds of training steps and of validations, and those before and of warm-up.

    Used as ``--trainer.callbacks+=clock.Clock``. It waits for the GPU once per epoch and stage.

    Attributes:
        start: Seconds from the setup of the fit to its first training step.
        warm_up: Seconds of the first steps.
        training: Seconds of all other steps, from the first to the last step of each epoch.
        epochs: Seconds of the steps of each epoch.
        steps: Number of these other steps.
        validation: Seconds of each validation.
        total: Seconds from setup to the end of the fit.
    """

    def __init__(self) -> None:
        self.start = self.warm_up = self.training = self.total = 0.0
        self.steps = 0
        self.epochs: list[float] = []
        self.validation: list[float] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._begin = time.perf_counter()

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        self._epoch_begin = _now()
        if trainer.current_epoch == 0:
            self.start = self._epoch_begin - self._begin

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == WARM_UP_STEPS:
            self.warm_up = _now() - self._epoch_begin
            self._epoch_begin = _now()
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.epochs.append(_now() - self._epoch_begin)
            self.training = sum(self.epochs)
            self.steps = trainer.global_step - WARM_UP_STEPS

    @override
    def on_validation_epoch_start(self, *args: Any) -> None:
        self._validation_begin = _now()

    @override
    def on_validation_epoch_end(self, *args: Any) -> None:
        self.validation.append(_now() - self._validation_begin)

    @override
    def on_fit_end(self, *args: Any) -> None:
        self.total = _now() - self._begin


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
