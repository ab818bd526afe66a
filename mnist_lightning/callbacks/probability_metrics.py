"""Metrics of the test images that need the probabilities of all classes."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError
from typing_extensions import override

from mnist_lightning.callbacks.batches import UnsupportedBatchError, get_logits, unpack_batch

NUM_BINS = 15  # of the confidence, as in Guo et al., 2017


class ProbabilityMetrics(Callback):
    """Measures top-2 accuracy and calibration error on the test images.

    The top-2 accuracy counts an image as correct if its class has one of the two highest
    probabilities. The expected calibration error (Guo et al., 2017) is the mean difference between
    the probability of the predicted class and the accuracy of the images with such a probability.

    Attributes:
        values: ``test/top2_acc`` and ``test/calibration_error``, in [0, 1]; empty before a test, or
            if the batches do not begin with images and labels.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._metrics: MetricCollection | None = None

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values, self._metrics = {}, None

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        try:
            images, labels = unpack_batch(batch)
            logits = get_logits(trainer, pl_module, outputs, images)
        except UnsupportedBatchError:
            return  # the callbacks that draw warn of it
        num_classes = logits.shape[1]
        if self._metrics is None:
            metrics: dict[str, Metric | MetricCollection] = {
                "top2_acc": MulticlassAccuracy(num_classes, top_k=2, average="micro"),
                "calibration_error": MulticlassCalibrationError(num_classes, NUM_BINS),
            }
            self._metrics = MetricCollection(metrics, prefix="test/").to(logits.device)
        is_valid = (labels >= 0) & (labels < num_classes)
        self._metrics.update(logits[is_valid], labels[is_valid])

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.strategy.reduce_boolean_decision(self._metrics is not None):
            assert self._metrics is not None
            self.values = {name: float(value) for name, value in self._metrics.compute().items()}
