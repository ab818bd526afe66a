"""The base class of callbacks that plot predictions for validation and test images."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from typing_extensions import Unpack, override

from mnist_lightning.callbacks.batches import (
    UnsupportedBatchError,
    check_drawable,
    get_logits,
    unpack_batch,
)
from mnist_lightning.callbacks.captions import title
from mnist_lightning.callbacks.end_of_fit import EndOfFitCallback
from mnist_lightning.callbacks.figure_callback import FigureOptions
from mnist_lightning.figures.publish import is_dry_run

log = logging.getLogger(__name__)


class EvaluationFigure(EndOfFitCallback, ABC):
    """Plots the predictions for the validation images, and later for the test images.

    Batches must begin with images and integer labels. The logits ``(N, num_classes)`` are the
    output of ``validation_step`` or ``test_step`` (the tensor itself or the key ``"logits"`` of a
    dict), or else the output of ``forward`` for the images. If any of this is missing, the callback
    logs a warning and draws nothing. If there are several loaders, only the first one is used.

    A subclass implements ``reset``, ``collect`` and ``draw``, and usually ``gather``.

    Args:
        dpi: Resolution of the figure in pixels per inch; default: 120.
        formats: Formats of the files: ``png`` (the default), ``pdf`` and ``svg``.
    """

    file_name: ClassVar[str]
    """Name of the PNG file in the run folder, without suffix."""
    tag: ClassVar[str]
    """Name of the image in TensorBoard; ``validation`` or ``test`` is appended."""
    is_drawn_each_epoch: ClassVar[bool] = False
    """Whether a fit draws after each validation, not only after the last one; this costs time."""
    shows_images: ClassVar[bool] = True
    """Whether the figure shows images, so that their shape must be ``(N, 1 or 3, H, W)``."""

    def __init__(self, **options: Unpack[FigureOptions]) -> None:
        super().__init__(**options)
        self._is_disabled = False
        self._has_collected = False  # in this process
        self._is_gathered = False  # from all processes, so that the figure can be drawn
        self._image_shape: torch.Size | None = None
        self._last_warning = ""

    @abstractmethod
    def reset(self) -> None:
        """Discards what was collected, but not what was gathered, which may still be drawn."""

    @abstractmethod
    def collect(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Stores what the figure requires from a batch.

        Args:
            images: ``(N, ...)``.
            labels: int64 ``(N,)``; the value ``num_classes`` marks an image without a valid label.
            logits: float32 ``(N, num_classes)``.
        """

    def gather(self, pl_module: LightningModule) -> None:
        """Combines what all processes collected; every process calls it."""

    @abstractmethod
    def draw(self, trainer: Trainer, title: str) -> Figure:
        """Draws what was gathered."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._is_disabled = self._is_gathered = False  # the model may have changed
        self.on_validation_epoch_start(trainer, pl_module)

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_collected, self._image_shape = False, None
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
        if self._is_disabled or dataloader_idx > 0 or is_dry_run(trainer):
            return
        try:
            images, labels = unpack_batch(batch)
            if self.shows_images:
                check_drawable(images, self._image_shape)
                self._image_shape = images.shape[1:]
            logits = get_logits(trainer, pl_module, outputs, images)
            num_classes = logits.shape[1]
            # One extra class for labels that the loss ignores, such as -100.
            labels = labels.where((labels >= 0) & (labels < num_classes), num_classes)
            self.collect(images, labels, logits)
            self._has_collected = True
        except UnsupportedBatchError as error:
            self._disable(trainer, str(error))

    on_test_batch_end = on_validation_batch_end

    def _disable(self, trainer: Trainer, requirement: str) -> None:
        self._is_disabled, self._has_collected, self._is_gathered = True, False, False
        if trainer.is_global_zero and requirement != self._last_warning:
            log.warning("%s is disabled: it requires %s", type(self).__name__, requirement)
        self._last_warning = requirement

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_fitting = trainer.state.fn == "fit"
        # During a fit, Lightning increases current_epoch only after this hook.
        self._epoch = trainer.current_epoch + is_fitting
        self._gather(trainer, pl_module)
        if self.is_drawn_each_epoch or not is_fitting:
            self._publish(trainer, "validation")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.is_drawn_each_epoch:
            self._publish(trainer, "validation")

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch = trainer.current_epoch
        self._gather(trainer, pl_module)
        self._publish(trainer, "test")

    def _gather(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Either all processes gather or none does: one alone would wait forever for the others.
        self._is_gathered = trainer.strategy.reduce_boolean_decision(self._has_collected)
        if self._is_gathered:
            self.gather(pl_module)

    def _publish(self, trainer: Trainer, subset: str) -> None:
        if self._is_gathered:
            heading, tag = title(trainer, f"{subset} images"), f"{self.tag}, {subset}"
            self.publish(
                trainer, lambda: self.draw(trainer, heading), self.file_name, tag, self._epoch
            )
