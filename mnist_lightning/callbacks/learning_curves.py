"""Learning curves while they grow."""

from math import nan
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.callbacks.publish import data_name, draws, publish
from mnist_lightning.plots import plot_learning_curves


class LearningCurves(Callback):
    """Draws training against validation loss and accuracy after every epoch.

    The figure is ``curves.png`` in the run folder and an image in TensorBoard. What was measured
    is kept in checkpoints, so that a resumed run goes on in the same curves.

    Args:
        loss: Names under which the model logs training and validation loss.
        accuracy: Names under which the model logs training and validation accuracy.

    Example:
        >>> LearningCurves(loss=("train_loss", "val_loss"), accuracy=("train_acc", "val_acc")).loss
        ('train_loss', 'val_loss')
    """

    def __init__(
        self,
        loss: tuple[str, str] = ("train/loss", "val/loss"),
        accuracy: tuple[str, str] = ("train/acc", "val/acc"),
    ) -> None:
        self.loss = loss
        self.accuracy = accuracy
        self.history: dict[str, list[float]] = {name: [] for name in (*loss, *accuracy)}
        """The values of each metric, an entry an epoch, NaN where it was not measured."""
        self._validated = False

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        for index, pair in enumerate(zip(self.loss, self.accuracy, strict=True)):
            for name in pair:
                # Without a validation in this epoch, its metrics are still those of an earlier one.
                fresh = name in metrics and (index == 0 or self._validated)
                self.history[name].append(float(metrics[name]) if fresh else nan)
        self._validated = False
        folder = trainer.log_dir
        if draws(trainer):
            title = ": ".join(filter(None, ("Learning curves", data_name(trainer))))
            figure = plot_learning_curves(self.history, self.loss, self.accuracy, title)
            publish(trainer, folder, figure, "curves", "learning curves")

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"history": {name: list(values) for name, values in self.history.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history.update(state_dict["history"])
