"""A progress bar for terminals, and a line per epoch for log files."""

import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from typing_extensions import override

from mnist_lightning.callbacks.epoch_record import EpochRecord


class EpochProgress(TQDMProgressBar):
    """Prints a line with the metrics of each epoch; a terminal also shows a progress bar.

    The progress bar disappears when its epoch or stage is complete.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[EpochProgress()], logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self.enable()

    @override
    def enable(self) -> None:
        """Enables the bar, in a terminal only; Lightning's tuners call this method, too."""
        if sys.stdout.isatty() and self.trainer.is_global_zero:
            super().enable()
        else:
            self.disable()

    @override
    def init_train_tqdm(self) -> Tqdm:
        return _transient(super().init_train_tqdm())

    @override
    def init_validation_tqdm(self) -> Tqdm:
        return _transient(super().init_validation_tqdm())

    @override
    def init_test_tqdm(self) -> Tqdm:
        return _transient(super().init_test_tqdm())

    @override
    def init_predict_tqdm(self) -> Tqdm:
        return _transient(super().init_predict_tqdm())

    @override
    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_start(trainer, *args)
        # A fit that is resumed within an epoch does not call on_train_epoch_start for it.
        self._record = EpochRecord(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(_epoch_label(trainer))
        self._record = EpochRecord(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        metrics = sorted(self._record.metrics(trainer).items())
        values = (f"{name} {_format(value)}" for name, value in metrics)
        line = "  ".join((_epoch_label(trainer), *values, f"{self._record.seconds():.1f} s"))
        if self.train_progress_bar.disable:
            print(line, flush=True)
        else:
            self.print(line)

    @override
    def on_exception(self, *args: Any) -> None:
        for attribute in vars(self).values():
            if isinstance(attribute, Tqdm):
                attribute.close()  # else the error message would follow on the same line

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        return {}  # the lines above the bar show them


def _format(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 0.001 else f"{value:.3g}"  # such as a learning rate


def _epoch_label(trainer: Trainer) -> str:
    total = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
    return f"Epoch {trainer.current_epoch + 1}{total}"


def _transient(bar: Tqdm) -> Tqdm:
    bar.leave = False
    return bar
