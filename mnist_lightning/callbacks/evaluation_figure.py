"""What the callbacks that look at validation and test images have in common."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.batches import (
    UnsupportedBatchError,
    check_pictures,
    images_and_labels,
    logits_of,
)
from mnist_lightning.callbacks.captions import title
from mnist_lightning.callbacks.end_of_fit import EndOfFitCallback
from mnist_lightning.figures.publish import is_dry_run, publish

log = logging.getLogger(__name__)


class EvaluationFigure(EndOfFitCallback):
    """Draws a figure of what a model makes of the validation images, then of the test images.

    It needs batches that begin with images and labels, and logits ``(N, num_classes)``: what
    ``validation_step`` and ``test_step`` return, alone or as ``"logits"`` in a dict, else what the
    model's ``forward`` gives for the images. Where something of this is missing, one sentence says
    so and nothing is drawn. Of several loaders the first is looked at.
    """

    file: ClassVar[str]
    """Name of the picture in the run folder, without its suffix."""
    tag: ClassVar[str]
    """Name of the image in TensorBoard, before ``validation`` or ``test``."""
    each_epoch: ClassVar[bool] = False
    """Whether a fit draws every validation; else only its last one, since drawing costs time."""
    pictures: ClassVar[bool] = True
    """Whether the images must be such that they can be drawn."""

    def __init__(self) -> None:
        self._collected = False  # something of the images that are being looked at
        self._complete = False  # all that was looked at last
        self._lacking = ""
        self._idle = False

    def reset(self) -> None:
        """Begins to collect anew; what was gathered before can still be drawn."""
        raise NotImplementedError

    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Takes from a batch what the figure needs; a label of ``num_classes`` stands for none."""
        raise NotImplementedError

    def gather(self, pl_module: LightningModule) -> None:
        """Brings together, in each process, what all of them collected."""

    def figure(self, trainer: Trainer, title: str) -> Figure:
        """Draws what was gathered."""
        raise NotImplementedError

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._idle = self._complete = False  # this may be another model
        self.on_validation_epoch_start(trainer, pl_module)

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._collected = False
        self._first: Tensor | None = None
        self.reset()

    on_test_epoch_start = on_validation_epoch_start

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._idle or dataloader_idx or is_dry_run(trainer):
            return
        try:
            images, labels = images_and_labels(batch)
            if self.pictures:
                check_pictures(images, self._first)
                self._first = images[:0]
            logits = logits_of(trainer, pl_module, outputs, images)
            classes = logits.shape[1]
            # Labels that the loss ignores, such as -100, become one class behind the others.
            labels = labels.where((labels >= 0) & (labels < classes), classes)
            self.collect(images, labels, logits)
            self._collected = True
        except UnsupportedBatchError as error:
            self._idle, self._collected, self._complete = True, False, False
            if trainer.is_global_zero and str(error) != self._lacking:
                log.warning("%s draws nothing: it needs %s", type(self).__name__, error)
            self._lacking = str(error)

    on_test_batch_end = on_validation_batch_end

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fitting = trainer.state.fn == "fit"
        # In a fit, an epoch is counted as finished only after this hook.
        self._epoch = trainer.current_epoch + fitting
        self._gather(trainer, pl_module)
        if self.each_epoch or not fitting:
            self._publish(trainer, "validation")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.each_epoch:
            self._publish(trainer, "validation")

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch = trainer.current_epoch
        self._gather(trainer, pl_module)
        self._publish(trainer, "test")

    def _gather(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # All processes or none: one that waits for another would wait for ever.
        self._complete = trainer.strategy.reduce_boolean_decision(self._collected)
        if self._complete:
            self.gather(pl_module)

    def _publish(self, trainer: Trainer, part: str) -> None:
        if self._complete:
            heading, tag = title(trainer, f"{part} images"), f"{self.tag}, {part}"
            publish(trainer, lambda: self.figure(trainer, heading), self.file, tag, self._epoch)
