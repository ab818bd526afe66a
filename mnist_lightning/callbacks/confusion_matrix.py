"""Which classes are taken for which."""

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.batches import UnsupportedBatchError, check_class_names
from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.callbacks.evaluation_figure import EvaluationFigure
from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix

MAX_CLASSES = 64  # of which a figure can still be read


class ConfusionMatrix(EvaluationFigure):
    """Draws how often each class was taken for each other one, with the accuracy of each class.

    Shows the validation images at the end of a fit and the test images after the test: as
    ``confusion_matrix.png`` in the run folder, and in TensorBoard. Images of all processes count.

    Args:
        class_names: A name for each class; default: those of the data module, else the numbers.

    Example:
        >>> matrix = ConfusionMatrix(class_names=["cat", "dog"])
    """

    file = "confusion_matrix"
    tag = "confusion matrix"
    pictures = False

    def __init__(self, class_names: Sequence[str] | None = None) -> None:
        super().__init__()
        check_class_names(class_names)
        self.class_names = class_names
        self.matrix: Tensor | None = None
        """Counts of the last validation or test: rows are true classes, columns predicted ones."""
        self._counts: Tensor | None = None

    @override
    def reset(self) -> None:
        self._counts = None

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        classes = logits.shape[1]
        if classes > MAX_CLASSES:
            raise UnsupportedBatchError(f"at most {MAX_CLASSES} classes, not {classes}")
        if self._counts is None:
            self._counts = labels.new_zeros(classes + 1, classes)
        # torchmetrics counts with bincount, which waits for the GPU.
        cells = labels * classes + logits.argmax(dim=1)
        self._counts.view(-1).index_add_(0, cells, torch.ones_like(cells))

    @override
    def gather(self, pl_module: LightningModule) -> None:
        assert self._counts is not None
        counts = pl_module.all_gather(self._counts)
        assert isinstance(counts, Tensor)
        counts = counts.reshape(-1, *self._counts.shape).sum(dim=0)
        self.matrix = counts[:-1].cpu()  # the last row has the images without a class

    @override
    def figure(self, trainer: Trainer, title: str) -> Figure:
        assert self.matrix is not None
        names = class_names(trainer, self.class_names, len(self.matrix))
        return plot_confusion_matrix(self.matrix, names, title)
