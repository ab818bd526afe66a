"""A grid of predictions."""

from collections.abc import Sequence

import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import Unpack, override

from mnist_lightning.callbacks.captions import check_class_names, class_names
from mnist_lightning.callbacks.evaluation_figure import EvaluationFigure
from mnist_lightning.callbacks.figure_callback import FigureOptions
from mnist_lightning.errors import check_integer
from mnist_lightning.figures.grids import MAX_GRID_SIZE, plot_prediction_grid


class PredictionGrid(EvaluationFigure):
    """Plots the first images with their true and predicted labels; wrong ones are highlighted.

    Shows the validation images after every epoch and the test images after a test, as
    ``predictions.png`` in the run folder and in TensorBoard.

    Args:
        class_names: A name for each class; default: the data module's names, or else numbers.
        size: Number of images along each side of the grid.
        dpi: Resolution of the figure in pixels per inch; default: 120.
        formats: Formats of the files: ``png`` (the default), ``pdf`` and ``svg``.

    Raises:
        InvalidArgumentError: If an argument is invalid.

    Example:
        >>> grid = PredictionGrid(class_names=["cat", "dog"], size=3)
    """

    file_name = "predictions"
    tag = "predictions"
    is_drawn_each_epoch = True

    def __init__(
        self,
        class_names: Sequence[str] | None = None,
        size: int = 5,
        **options: Unpack[FigureOptions],
    ) -> None:
        super().__init__(**options)
        check_integer("size", size, 1, MAX_GRID_SIZE)
        check_class_names(class_names)
        self.class_names = class_names
        self.size = size
        self.reset()

    @override
    def reset(self) -> None:
        self._batches: list[tuple[Tensor, ...]] = []
        self._num_missing = self.size**2

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        if self._num_missing:
            # Copies, because a view would keep the complete batch in memory.
            first = [tensor[: self._num_missing].clone() for tensor in (images, labels, logits)]
            self._batches.append(tuple(first))
            self._num_missing -= len(first[0])

    @override
    def draw(self, trainer: Trainer, title: str) -> Figure:
        images, labels, logits = (
            torch.cat(tensors).cpu() for tensors in zip(*self._batches, strict=True)
        )
        names = [*class_names(trainer, self.class_names, logits.shape[1]), "?"]
        return plot_prediction_grid(images, labels, logits.softmax(dim=1), names, title, self.size)
