"""A grid of predictions while they get better."""

from collections.abc import Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.publish import data_name, draws, publish
from mnist_lightning.errors import InvalidArgumentError
from mnist_lightning.plots import plot_prediction_grid


class PredictionGrid(Callback):
    """Draws the first images with true and predicted label, wrong ones framed and marked.

    Shows validation images after every epoch and test images after the test: as
    ``predictions.png`` in the run folder, and in TensorBoard. Needs batches that begin with images
    and labels, and a model whose ``forward`` maps images to logits.

    Args:
        class_names: A name for each class; default: those of the data module, else the numbers.
        size: Images along each side of the grid.

    Raises:
        InvalidArgumentError: If ``size`` is less than 1.

    Example:
        >>> grid = PredictionGrid(class_names=["cat", "dog"], size=3)
    """

    def __init__(self, class_names: Sequence[str] | None = None, size: int = 5) -> None:
        if size < 1:
            raise InvalidArgumentError("size", size, "it must be at least 1")
        self.class_names = class_names
        self.size = size
        self._images: list[Tensor] = []
        self._labels: list[Tensor] = []

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Sequence[Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._collect(batch)

    on_test_batch_end = on_validation_batch_end

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "validation images", "predictions/validation")

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "test images", "predictions/test")

    def _collect(self, batch: Sequence[Tensor]) -> None:
        room = self.size**2 - sum(map(len, self._labels))
        if room > 0:
            self._images.append(batch[0][:room].clone())  # a view would keep the whole batch
            self._labels.append(batch[1][:room].clone())

    def _draw(self, trainer: Trainer, pl_module: LightningModule, what: str, tag: str) -> None:
        folder = trainer.log_dir
        if self._labels and draws(trainer):
            images, labels = torch.cat(self._images), torch.cat(self._labels)
            probabilities = pl_module(images).softmax(dim=1)
            datamodule = getattr(trainer, "datamodule", None)
            names = [*(self.class_names or getattr(datamodule, "class_names", None) or ())]
            names += [str(index) for index in range(len(names), probabilities.shape[1])]
            figure = plot_prediction_grid(
                images.cpu(),
                labels.cpu(),
                probabilities.float().cpu(),
                names,
                ", ".join(filter(None, (data_name(trainer), what))),
                self.size,
            )
            publish(trainer, folder, figure, "predictions", tag)
        self._images, self._labels = [], []
