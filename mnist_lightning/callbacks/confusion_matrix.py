"""The confusion matrix of validation and test images."""

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import Unpack, override

from mnist_lightning.callbacks.batches import UnsupportedBatchError
from mnist_lightning.callbacks.captions import check_class_names, class_names
from mnist_lightning.callbacks.evaluation_figure import EvaluationFigure
from mnist_lightning.callbacks.figure_callback import FigureOptions
from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix

MAX_CLASSES = 64  # in a figure of more, the counts would be too small to read


class ConfusionMatrix(EvaluationFigure):
    """Plots how many images of each class were predicted as each class, and each class's accuracy.

    Shows the validation images at the end of a fit and the test images after a test, as
    ``confusion_matrix.png`` in the run folder and in TensorBoard. The images of all processes are
    counted.

    Args:
        class_names: A name for each class; default: the data module's names, or else numbers.
        dpi: Resolution of the figure in pixels per inch; default: 120.
        formats: Formats of the files: ``png`` (the default), ``pdf`` and ``svg``.

    Raises:
        InvalidArgumentError: If an argument is invalid.

    Example:
        >>> matrix = ConfusionMatrix(class_names=["cat", "dog"])
    """

    file_name = "confusion_matrix"
    tag = "confusion matrix"
    shows_images = False

    def __init__(
        self, class_names: Sequence[str] | None = None, **options: Unpack[FigureOptions]
    ) -> None:
        super().__init__(**options)
        check_class_names(class_names)
        self.class_names = class_names
        self.matrix: Tensor | None = None
        """Counts of the last validation or test, int64 ``(num_classes, num_classes)``: rows are
        true classes, columns are predicted classes."""
        self._counts: Tensor | None = None

    @override
    def reset(self) -> None:
        self._counts = None

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        num_classes = logits.shape[1]
        if num_classes > MAX_CLASSES:
            raise UnsupportedBatchError(f"at most {MAX_CLASSES} classes, not {num_classes}")
        if self._counts is None:
            # The last row counts images without a valid label.
            self._counts = labels.new_zeros(num_classes + 1, num_classes)
        # Not torchmetrics, which uses bincount and thereby waits for the GPU.
        cells = labels * num_classes + logits.argmax(dim=1)
        self._counts.view(-1).index_add_(0, cells, torch.ones_like(cells))

    @override
    def gather(self, pl_module: LightningModule) -> None:
        assert self._counts is not None
        counts = pl_module.all_gather(self._counts)
        assert isinstance(counts, Tensor)
        counts = counts.reshape(-1, *self._counts.shape).sum(dim=0)
        self.matrix = counts[:-1].cpu()

    @override
    def draw(self, trainer: Trainer, title: str) -> Figure:
        assert self.matrix is not None
        names = class_names(trainer, self.class_names, len(self.matrix))
        return plot_confusion_matrix(self.matrix, names, title)
