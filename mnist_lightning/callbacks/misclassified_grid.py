"""A grid of the most confident mistakes."""

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import Unpack, override

from mnist_lightning.callbacks.captions import check_class_names, class_names
from mnist_lightning.callbacks.evaluation_figure import EvaluationFigure
from mnist_lightning.callbacks.figure_callback import FigureOptions
from mnist_lightning.errors import check_integer
from mnist_lightning.figures.grids import MAX_GRID_SIZE, plot_misclassified_grid

NOT_A_MISTAKE = -1.0  # as a confidence; ranks below every mistake


class MisclassifiedGrid(EvaluationFigure):
    """Plots the most confident mistakes with the probabilities of the true and predicted class.

    Shows the validation images at the end of a fit and the test images after a test, as
    ``misclassified.png`` in the run folder and in TensorBoard. The images of all processes are
    considered, and only as many are kept in memory as are shown.

    Args:
        class_names: A name for each class; default: the data module's names, or else numbers.
        size: Number of images along each side of the grid.
        dpi: Resolution of the figure in pixels per inch; default: 120.
        formats: Formats of the files: ``png`` (the default), ``pdf`` and ``svg``.

    Raises:
        InvalidArgumentError: If an argument is invalid.

    Example:
        >>> grid = MisclassifiedGrid(class_names=["cat", "dog"], size=3)
    """

    file_name = "misclassified"
    tag = "misclassified"

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
        # Confidences, images, labels and probabilities; size² of each, padded with non-mistakes.
        self._candidates: tuple[Tensor, ...] = ()
        self._num_mistakes: Tensor | int = 0

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        probabilities = logits.softmax(dim=1)
        confidence, predicted = probabilities.max(dim=1)
        num_classes = probabilities.shape[1]
        is_mistake = (predicted != labels) & (labels != num_classes)
        self._num_mistakes = is_mistake.sum() + self._num_mistakes
        confidence = confidence.where(is_mistake, NOT_A_MISTAKE)
        batch = (confidence, images, labels, probabilities)
        if not self._candidates:
            # Full size from the start, because all_gather expects equal shapes from all processes.
            self._candidates = tuple(
                tensor.new_zeros(self.size**2, *tensor.shape[1:]) for tensor in batch
            )
            self._candidates[0].fill_(NOT_A_MISTAKE)
        best = confidence.topk(min(self.size**2, len(confidence))).indices
        self._candidates = self._most_confident(
            [
                torch.cat((candidates, tensor[best]))
                for candidates, tensor in zip(self._candidates, batch, strict=True)
            ]
        )

    @override
    def gather(self, pl_module: LightningModule) -> None:
        *gathered, num_mistakes = pl_module.all_gather((*self._candidates, self._num_mistakes))
        self._gathered = self._most_confident(
            [
                tensor.reshape(-1, *candidates.shape[1:])
                for tensor, candidates in zip(gathered, self._candidates, strict=True)
            ]
        )
        self._gathered_num_mistakes = num_mistakes.sum()

    def _most_confident(self, candidates: Sequence[Tensor]) -> tuple[Tensor, ...]:
        best = candidates[0].topk(self.size**2).indices
        return tuple(tensor[best] for tensor in candidates)

    @override
    def draw(self, trainer: Trainer, title: str) -> Figure:
        is_mistake = self._gathered[0] != NOT_A_MISTAKE
        images, labels, probabilities = (tensor[is_mistake].cpu() for tensor in self._gathered[1:])
        names = class_names(trainer, self.class_names, probabilities.shape[1])
        total = int(self._gathered_num_mistakes)
        return plot_misclassified_grid(
            images, labels, probabilities, names, title, total, self.size
        )
