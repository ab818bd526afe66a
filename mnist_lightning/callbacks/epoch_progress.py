"""Progress for a terminal and for a log file."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from typing_extensions import override


class EpochProgress(TQDMProgressBar):
    """Prints a line an epoch; in a terminal, also a bar that vanishes when its work is done.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[EpochProgress()], logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not sys.stdout.isatty():
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
        self._begin(trainer)  # a run that is resumed within an epoch begins without the next hook

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(_epoch(trainer))
        self._begin(trainer)

    def _begin(self, trainer: Trainer) -> None:
        self._started = time.monotonic()
        self._before = dict(trainer.callback_metrics)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        # Without a validation in this epoch, its metrics are still those of an earlier one.
        values = [
            f"{name} {float(value):.4f}"
            for name, value in trainer.callback_metrics.items()
            if value is not self._before.get(name)
        ]
        seconds = f"{time.monotonic() - self._started:.1f} s"
        line = "  ".join((_epoch(trainer), *sorted(values), seconds))
        if self.train_progress_bar.disable:
            print(line, flush=True)
        else:
            self.print(line)

    @override
    def on_exception(self, *args: Any) -> None:
        for bar in vars(self).values():
            if isinstance(bar, Tqdm):
                bar.close()  # else the error message would be printed on the same line

    @override
    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        return {}  # the lines above the bar have them


def _epoch(trainer: Trainer) -> str:
    total = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
    return f"Epoch {trainer.current_epoch + 1}{total}"


def _transient(bar: Tqdm) -> Tqdm:
    bar.leave = False
    return bar
