"""Learning curves while they grow."""

import logging
import re
from math import nan
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from typing_extensions import override

from mnist_lightning.callbacks.captions import title
from mnist_lightning.errors import check
from mnist_lightning.figures.learning_curves import plot_learning_curves
from mnist_lightning.figures.publish import publish

log = logging.getLogger(__name__)


class LearningCurves(Callback):
    """Draws training against validation loss and accuracy after every epoch.

    The figure is ``curves.png`` in the run folder and an image in TensorBoard, where the tab
    Custom Scalars has both curves in one chart too. What was measured is kept in checkpoints, so
    that a resumed run goes on in the same curves.

    Args:
        loss: Names under which the model logs training and validation loss.
        accuracy: Names under which the model logs training and validation accuracy.

    Raises:
        InvalidArgumentError: If ``loss`` or ``accuracy`` is not a pair.

    Example:
        >>> LearningCurves(loss=("train_loss", "val_loss"), accuracy=("train_acc", "val_acc")).loss
        ('train_loss', 'val_loss')
    """

    def __init__(
        self,
        loss: tuple[str, str] = ("train/loss", "val/loss"),
        accuracy: tuple[str, str] = ("train/acc", "val/acc"),
    ) -> None:
        for name, pair in (("loss", loss), ("accuracy", accuracy)):
            check(name, pair, _is_pair, "it must be two names, as in its default")
        self.loss = loss
        self.accuracy = accuracy
        self.history: dict[str, list[float]] = {name: [] for name in (*loss, *accuracy)}
        """The values of each metric, an entry an epoch, NaN where it was not measured."""
        self._validated = False
        self._missing: set[str] = set()
        self._figure: Figure | None = None

    @property
    @override
    def state_key(self) -> str:
        arguments = {"loss": self.loss, "accuracy": self.accuracy}
        return f"{type(self).__qualname__}{arguments!r}"

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._missing, self._validated, self._figure = set(), False, None
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
        self._validated = not trainer.sanity_checking

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics, epoch = trainer.callback_metrics, trainer.current_epoch
        missing = set()
        for index, pair in enumerate(zip(self.loss, self.accuracy, strict=True)):
            for name in pair:
                # Without a validation in this epoch, its metrics are still those of an earlier one.
                measured = index == 0 or self._validated
                if measured and name not in metrics:
                    missing.add(name)
                fresh = measured and name in metrics
                values = self.history[name][:epoch]  # a checkpoint may be older or newer than this
                values += [nan] * (epoch - len(values))
                self.history[name] = [*values, float(metrics[name]) if fresh else nan]
        self._validated = False
        # An epoch that was resumed at its end logs nothing.
        if trainer.is_global_zero and metrics and missing - self._missing:
            log.warning(
                "LearningCurves leaves out %s: the model logs %s; say its names with "
                "LearningCurves(loss=..., accuracy=...)",
                ", ".join(sorted(missing)),
                ", ".join(sorted(metrics)),
            )
        self._missing |= missing
        heading = title(trainer, "learning curves")
        publish(trainer, lambda: self._draw(heading), "curves", "learning curves", epoch + 1)

    def _draw(self, heading: str) -> Figure:
        self._figure = plot_learning_curves(
            self.history, self.loss, self.accuracy, heading, self._figure
        )
        return self._figure

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"history": {name: list(values) for name, values in self.history.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history.update(state_dict["history"])


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and [*map(type, value)] == [str, str] and not isinstance(value, str)
