"""Which classes are taken for which."""

from collections.abc import Sequence

from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from mnist_lightning.callbacks.batches import LackingError
from mnist_lightning.callbacks.evaluation import EvaluationFigure
from mnist_lightning.callbacks.publish import class_names
from mnist_lightning.plots import plot_confusion_matrix

MOST_CLASSES = 64  # of which a figure can still be read


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
        self.class_names = class_names
        self.matrix: Tensor | None = None
        """Counts of the last validation or test: rows are true classes, columns predicted ones."""
        self._metric: MulticlassConfusionMatrix | None = None

    @override
    def reset(self) -> None:
        self.matrix = None
        self._metric = None

    @override
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        if self._metric is None:
            classes = logits.shape[1]
            if classes > MOST_CLASSES:
                raise LackingError(f"at most {MOST_CLASSES} classes, not {classes}")
            metric = MulticlassConfusionMatrix(classes + 1, validate_args=False)
            self._metric = metric.to(logits.device)
        self._metric.update(logits.argmax(dim=1), labels)

    @override
    def gather(self, pl_module: LightningModule) -> None:
        assert self._metric is not None
        self.matrix = self._metric.compute()[:-1, :-1].cpu()  # of all processes

    @override
    def figure(self, trainer: Trainer, title: str) -> Figure:
        assert self.matrix is not None
        names = class_names(trainer, self.class_names, len(self.matrix))
        return plot_confusion_matrix(self.matrix, names, title)
