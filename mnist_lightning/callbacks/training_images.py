"""What the network is shown while it trains."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.batches import (
    UnsupportedBatchError,
    check_class_names,
    check_pictures,
    check_size,
    images_and_labels,
)
from mnist_lightning.callbacks.captions import class_names, title
from mnist_lightning.figures.grids import plot_training_images
from mnist_lightning.figures.publish import is_dry_run, publish

log = logging.getLogger(__name__)


class TrainingImages(Callback):
    """Draws the first images of a fit as the network sees them: scaled, augmented, shuffled.

    The figure is ``training_images.png`` in the run folder and an image in TensorBoard. Needs
    batches that begin with images and labels.

    Args:
        class_names: A name for each class; default: those of the data module, else the numbers.
        size: Images along each side of the grid.

    Raises:
        InvalidArgumentError: If an argument will not do.

    Example:
        >>> images = TrainingImages(class_names=["cat", "dog"], size=3)
    """

    def __init__(self, class_names: Sequence[str] | None = None, size: int = 5) -> None:
        check_size(size)
        check_class_names(class_names)
        self.class_names = class_names
        self.size = size
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._room = 0
        self._pending = False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._kept = []
        self._pending = not is_dry_run(trainer)
        self._room = self.size**2 if self._pending else 0

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._room:
            return
        try:
            images, labels = images_and_labels(batch)
            check_pictures(images, self._kept[0][0] if self._kept else None)
        except UnsupportedBatchError as error:
            self._kept, self._room = [], 0
            if trainer.is_global_zero:
                log.warning("TrainingImages draws nothing: it needs %s", error)
            return
        # Clones, since a view would keep the whole batch, and a step may change it in place.
        self._kept.append((images[: self._room].clone(), labels[: self._room].clone()))
        self._room -= len(self._kept[-1][0])

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pending, self._pending, self._room = self._pending, False, 0
        # All processes or none: one that waits for another would wait for ever.
        if not pending or not trainer.strategy.reduce_boolean_decision(bool(self._kept)):
            return
        images, labels = (torch.cat(one).cpu() for one in zip(*self._kept, strict=True))
        names = [*class_names(trainer, self.class_names, int(labels.max()) + 1), "?"]
        labels = labels.where(labels >= 0, -1)  # the last name
        heading = title(trainer, "training images as the network sees them")
        publish(
            trainer,
            lambda: plot_training_images(images, labels, names, heading, self.size),
            "training_images",
            "training images",
            trainer.current_epoch + 1,
        )
        self._kept = []
