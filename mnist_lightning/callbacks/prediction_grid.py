"""A grid of predictions while they get better."""

from collections.abc import Sequence

import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.batches import check_class_names, check_size
from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.callbacks.evaluation_figure import EvaluationFigure
from mnist_lightning.figures.grids import plot_prediction_grid


class PredictionGrid(EvaluationFigure):
    """Draws the first images with true and predicted label, wrong ones framed and marked.

    Shows validation images after every epoch and test images after the test: as
    ``predictions.png`` in the run folder, and in TensorBoard.

    Args:
        class_names: A name for each class; default: those of the data module, else the numbers.
        size: Images along each side of the grid.

    Raises:
        InvalidArgumentError: If an argument will not do.

    Example:
        >>> grid = PredictionGrid(class_names=["cat", "dog"], size=3)
    """

    file = "predictions"
    tag = "predictions"
    each_epoch = True

    def __init__(self, class_names: Sequence[str] | None = None, size: int = 5) -> None:
        super().__init__()
        check_size(size)
        check_class_names(class_names)
        self.class_names = class_names
        self.size = size
        self.reset()

    @override
    def reset(self) -> None:
        self._kept: list[tuple[Tensor, ...]] = []
        self._room = self.size**2

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        if self._room:
            first = [one[: self._room].clone() for one in (images, labels, logits)]
            self._kept.append(tuple(first))  # clones, since a view would keep the whole batch
            self._room -= len(first[0])

    @override
    def figure(self, trainer: Trainer, title: str) -> Figure:
        images, labels, logits = (torch.cat(one).cpu() for one in zip(*self._kept, strict=True))
        names = [*class_names(trainer, self.class_names, logits.shape[1]), "?"]
        return plot_prediction_grid(images, labels, logits.softmax(dim=1), names, title, self.size)
