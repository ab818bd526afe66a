"""The mistakes of which a model is surest."""

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.batches import check_class_names, check_size
from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.callbacks.evaluation_figure import EvaluationFigure
from mnist_lightning.figures.grids import plot_misclassified_grid


class MisclassifiedGrid(EvaluationFigure):
    """Draws the most confident mistakes, with the probabilities of the true and predicted class.

    Shows validation images at the end of a fit and test images after the test: as
    ``misclassified.png`` in the run folder, and in TensorBoard. Images of all processes count, and
    no more are kept than are drawn.

    Args:
        class_names: A name for each class; default: those of the data module, else the numbers.
        size: Images along each side of the grid.

    Raises:
        InvalidArgumentError: If an argument will not do.

    Example:
        >>> grid = MisclassifiedGrid(class_names=["cat", "dog"], size=3)
    """

    file = "misclassified"
    tag = "misclassified"

    def __init__(self, class_names: Sequence[str] | None = None, size: int = 5) -> None:
        super().__init__()
        check_size(size)
        check_class_names(class_names)
        self.class_names = class_names
        self.size = size
        self.reset()

    @override
    def reset(self) -> None:
        self._kept: tuple[Tensor, ...] = ()
        self._mistakes: Tensor | int = 0

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        probabilities = logits.softmax(dim=1)
        confidence, predicted = probabilities.max(dim=1)
        right = (predicted == labels) | (labels == probabilities.shape[1])
        self._mistakes = (~right).sum() + self._mistakes
        confidence = confidence.masked_fill(right, -1.0)  # behind every mistake
        new = (confidence, images, labels, probabilities)
        if not self._kept:  # in each process as many, so that they can be gathered
            self._kept = tuple(one.new_zeros(self.size**2, *one.shape[1:]) for one in new)
            self._kept[0].fill_(-1.0)
        best = confidence.topk(min(self.size**2, len(confidence))).indices
        merged = [torch.cat((old, one[best])) for old, one in zip(self._kept, new, strict=True)]
        self._kept = self._surest(merged)

    @override
    def gather(self, pl_module: LightningModule) -> None:
        *all_kept, mistakes = pl_module.all_gather((*self._kept, self._mistakes))
        gathered = [
            one.reshape(-1, *mine.shape[1:]) for one, mine in zip(all_kept, self._kept, strict=True)
        ]
        self._gathered, self._total = self._surest(gathered), mistakes.sum()

    def _surest(self, candidates: Sequence[Tensor]) -> tuple[Tensor, ...]:
        best = candidates[0].topk(self.size**2).indices
        return tuple(one[best] for one in candidates)

    @override
    def figure(self, trainer: Trainer, title: str) -> Figure:
        confidence, *kept = (one.cpu() for one in self._gathered)
        images, labels, probabilities = (one[confidence != -1] for one in kept)
        names = class_names(trainer, self.class_names, probabilities.shape[1])
        return plot_misclassified_grid(
            images, labels, probabilities, names, title, int(self._total), self.size
        )
