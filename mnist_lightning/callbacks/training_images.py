"""A grid of training images."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from typing_extensions import Unpack, override

from mnist_lightning.callbacks.batches import (
    UnsupportedBatchError,
    check_drawable,
    unpack_batch,
)
from mnist_lightning.callbacks.captions import check_class_names, class_names, title
from mnist_lightning.callbacks.figure_callback import FigureCallback, FigureOptions
from mnist_lightning.errors import check_integer
from mnist_lightning.figures.grids import MAX_GRID_SIZE, plot_training_images
from mnist_lightning.figures.publish import is_dry_run

log = logging.getLogger(__name__)


class TrainingImages(FigureCallback):
    """Plots the first images of a fit as the network sees them: shuffled, scaled and augmented.

    The figure is ``training_images.png`` in the run folder and an image in TensorBoard. Batches
    must begin with images and integer labels.

    Args:
        class_names: A name for each class; default: the data module's names, or else numbers.
        size: Number of images along each side of the grid.
        dpi: Resolution of the figure in pixels per inch; default: 120.
        formats: Formats of the files: ``png`` (the default), ``pdf`` and ``svg``.

    Raises:
        InvalidArgumentError: If an argument is invalid.

    Example:
        >>> images = TrainingImages(class_names=["cat", "dog"], size=3)
    """

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
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._num_missing = 0
        self._is_first_epoch = False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches = []
        self._is_first_epoch = not is_dry_run(trainer)
        self._num_missing = self.size**2 if self._is_first_epoch else 0

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._num_missing:
            return
        try:
            images, labels = unpack_batch(batch)
            check_drawable(images, self._batches[0][0].shape[1:] if self._batches else None)
        except UnsupportedBatchError as error:
            self._batches, self._num_missing = [], 0
            if trainer.is_global_zero:
                log.warning("TrainingImages is disabled: it requires %s", error)
            return
        # Copies, because the step may change its batch, and a view would keep all of it in memory.
        number = self._num_missing
        self._batches.append((images[:number].clone(), labels[:number].clone()))
        self._num_missing -= len(self._batches[-1][0])

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_first_epoch, self._is_first_epoch, self._num_missing = self._is_first_epoch, False, 0
        # Either all processes draw or none does: one alone would wait forever for the others.
        if not is_first_epoch or not trainer.strategy.reduce_boolean_decision(bool(self._batches)):
            return
        images, labels = (torch.cat(tensors).cpu() for tensors in zip(*self._batches, strict=True))
        self._batches = []
        names = [*class_names(trainer, self.class_names, int(labels.max()) + 1), "?"]
        labels = labels.where(labels >= 0, -1)  # labels that the loss ignores get the name "?"
        heading = title(trainer, "training images as the network sees them")
        self.publish(
            trainer,
            lambda: plot_training_images(images, labels, names, heading, self.size),
            "training_images",
            "training images",
            trainer.current_epoch + 1,
        )
