"""Saves the metrics of each epoch as a table."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.callbacks.epoch_record import EpochRecord
from mnist_lightning.figures.publish import is_dry_run
from mnist_lightning.files import write_atomically

FILE_NAME = "history.csv"
FIRST_COLUMNS = ("epoch", "step", "seconds", "train/loss", "train/acc", "val/loss", "val/acc")

Row = dict[str, float]


class SaveHistory(Callback):
    """Adds a row to ``history.csv`` after each epoch, with all metrics that the epoch logged.

    A run that is resumed in its folder keeps the rows of the completed epochs.

    Attributes:
        rows: The rows; a metric that an epoch did not log is missing in its row.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._validation_metrics: Row = {}
        self._validated_step = -1

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = Path(trainer.log_dir or "", FILE_NAME)
        self.rows = [row for row in read_history(path) if row["epoch"] <= trainer.current_epoch]
        self._record = EpochRecord(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record = EpochRecord(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics.items()
        self._validation_metrics = {
            name: float(value) for name, value in metrics if name.startswith("val/")
        }
        self._validated_step = trainer.global_step

    def validation_metrics(self, trainer: Trainer) -> Row:
        """Returns the validation metrics of exactly the current weights, or none."""
        is_validated = trainer.global_step == self._validated_step
        return self._validation_metrics if is_validated else {}

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["validation_metrics"] = self.validation_metrics(trainer)
        metrics = trainer.callback_metrics.items()
        checkpoint["metrics"] = {name: float(value) for name, value in metrics}

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # a broadcast, so every process must ask
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "seconds": round(self._record.seconds(), 3),
        }
        self.rows.append(row | self._record.metrics(trainer))
        if trainer.is_global_zero and not is_dry_run(trainer):
            write_atomically(Path(folder or "", FILE_NAME), _to_csv(self.rows))


def read_history(path: Path) -> list[Row]:
    """Returns the rows of a ``history.csv``, or none if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    return [
        {
            name: int(value) if name in ("epoch", "step") else float(value)
            for name, value in row.items()
            if value
        }
        for row in csv.DictReader(io.StringIO(text))
    ]


def _to_csv(rows: list[Row]) -> bytes:
    columns = dict.fromkeys([*FIRST_COLUMNS, *(name for row in rows for name in row)])
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()
