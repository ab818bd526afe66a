"""The learning curves, drawn after every epoch."""

import logging
import re
from math import nan
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from typing_extensions import Unpack, override

from mnist_lightning.callbacks.captions import title
from mnist_lightning.callbacks.figure_callback import FigureCallback, FigureOptions
from mnist_lightning.errors import check
from mnist_lightning.figures.learning_curves import plot_learning_curves

log = logging.getLogger(__name__)


class LearningCurves(FigureCallback):
    """Plots training and validation loss and accuracy after every epoch.

    The figure is ``curves.png`` in the run folder and an image in TensorBoard, whose tab Custom
    Scalars also shows training and validation in one chart. The values are saved in checkpoints, so
    that the curves of a resumed run are complete.

    Args:
        loss: Names under which the model logs training and validation loss.
        accuracy: Names under which the model logs training and validation accuracy.
        dpi: Resolution of the figure in pixels per inch; default: 120.
        formats: Formats of the files: ``png`` (the default), ``pdf`` and ``svg``.

    Raises:
        InvalidArgumentError: If an argument is invalid.

    Example:
        >>> LearningCurves(loss=("train_loss", "val_loss"), accuracy=("train_acc", "val_acc")).loss
        ('train_loss', 'val_loss')
    """

    def __init__(
        self,
        loss: tuple[str, str] = ("train/loss", "val/loss"),
        accuracy: tuple[str, str] = ("train/acc", "val/acc"),
        **options: Unpack[FigureOptions],
    ) -> None:
        super().__init__(**options)
        for name, pair in (("loss", loss), ("accuracy", accuracy)):
            check(name, pair, _is_pair, "it must be two names, for training and validation")
        self.loss = loss
        self.accuracy = accuracy
        self.history: dict[str, list[float]] = {name: [] for name in (*loss, *accuracy)}
        """The values of each metric, one entry per epoch; NaN if it was not logged."""
        self._has_validated = False
        self._missing_names: set[str] = set()

    @property
    @override
    def state_key(self) -> str:
        arguments = {"loss": self.loss, "accuracy": self.accuracy}
        return f"{type(self).__qualname__}{arguments!r}"

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._missing_names, self._has_validated, self.figure = set(), False, None
        charts = {
            kind: ["Multiline", [f"^{re.escape(name)}$" for name in pair]]
            for kind, pair in (("loss", self.loss), ("accuracy", self.accuracy))
        }
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_custom_scalars({"training and validation": charts})

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_validated = not trainer.sanity_checking

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._append_epoch(trainer)
        self._has_validated = False
        heading = title(trainer, "learning curves")
        epoch = trainer.current_epoch + 1
        self.publish(trainer, lambda: self._draw(heading), "curves", "learning curves", epoch)

    def _append_epoch(self, trainer: Trainer) -> None:
        metrics, epoch = trainer.callback_metrics, trainer.current_epoch
        # Without a validation in this epoch, metrics holds the values of an earlier one.
        validation_names = {self.loss[1], self.accuracy[1]}
        expected_names = self.history.keys() - (set() if self._has_validated else validation_names)
        for name, values in self.history.items():
            is_logged = name in expected_names and name in metrics
            # The checkpoint of a resumed run may hold values of more or fewer epochs.
            previous = (values + [nan] * epoch)[:epoch]
            self.history[name] = [*previous, float(metrics[name]) if is_logged else nan]
        if metrics:  # an epoch that was resumed after its last step logs nothing
            self._warn_once(trainer, expected_names - metrics.keys())

    def _warn_once(self, trainer: Trainer, missing_names: set[str]) -> None:
        if trainer.is_global_zero and missing_names - self._missing_names:
            log.warning(
                "LearningCurves does not show %s, which the model does not log; it logs %s. "
                "Choose the names with LearningCurves(loss=..., accuracy=...)",
                ", ".join(sorted(missing_names)),
                ", ".join(sorted(trainer.callback_metrics)),
            )
        self._missing_names |= missing_names

    def _draw(self, heading: str) -> Figure:
        return plot_learning_curves(self.history, self.loss, self.accuracy, heading, self.figure)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"history": {name: list(values) for name, values in self.history.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history.update(state_dict["history"])


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and [*map(type, value)] == [str, str] and not isinstance(value, str)
