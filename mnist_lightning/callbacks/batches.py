"""What callbacks need of arguments, batches and steps, and how they say that it is missing."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from mnist_lightning.errors import check, check_integer

MAX_GRID_SIZE = 20  # of a grid whose captions can still be read


class UnsupportedBatchError(Exception):
    """Something that a callback needs is missing; the message names it."""


def check_size(size: int) -> None:
    """Checks the number of images along each side of a grid.

    Raises:
        InvalidArgumentError: If it is out of range.
    """
    check_integer("size", size, 1, MAX_GRID_SIZE)


def check_class_names(class_names: Sequence[str] | None) -> None:
    """Checks the names of the classes.

    Raises:
        InvalidArgumentError: If they are no list.
    """
    check(
        "class_names",
        class_names,
        lambda value: value is None or not (isinstance(value, str) or len(value) == 0),
        "it must be a list with a name for each class",
    )


def images_and_labels(batch: Any) -> tuple[Tensor, Tensor]:
    """Returns the first two parts of a batch; the labels as int64.

    Raises:
        UnsupportedBatchError: If these are not images of any shape and class labels ``(N,)``.
    """
    parts = batch[:2] if isinstance(batch, Sequence) else ()
    if len(parts) < 2 or not all(isinstance(part, Tensor) for part in parts):
        raise UnsupportedBatchError("batches that begin with images and labels")
    images, labels = parts
    if labels.is_floating_point() or labels.shape != images.shape[:1]:
        raise UnsupportedBatchError(
            "labels that are whole numbers of shape (N,), "
            f"not {labels.dtype} of shape {tuple(labels.shape)}"
        )
    return images, labels.long()


def check_pictures(images: Tensor, first: Tensor | None = None) -> None:
    """Checks that images can be drawn, beside those of the ``first`` batch.

    Raises:
        UnsupportedBatchError: If they are not of shape ``(N, 1 or 3, H, W)``, all of one size.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise UnsupportedBatchError(f"images of shape (N, 1 or 3, H, W), not {tuple(images.shape)}")
    if first is not None and images.shape[1:] != first.shape[1:]:
        raise UnsupportedBatchError(
            f"images of one size, not {first.shape[1:]} and {images.shape[1:]}"
        )


def logits_of(trainer: Trainer, pl_module: LightningModule, outputs: Any, images: Tensor) -> Tensor:
    """Returns the logits ``(N, num_classes)`` of a batch, float32.

    They are what the step returned, alone or as ``"logits"`` in a mapping; else ``forward`` is run.

    Raises:
        UnsupportedBatchError: If neither gives logits.
    """
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs
    if not _are_logits(logits, images):
        try:
            with trainer.precision_plugin.forward_context():
                logits = pl_module(images)
        except (NotImplementedError, TypeError) as error:  # no forward, or one of several arguments
            raise UnsupportedBatchError(
                "a model whose forward takes images alone, or steps that return logits"
            ) from error
    if not _are_logits(logits, images):
        raise UnsupportedBatchError("a model whose forward maps images to logits (N, num_classes)")
    return logits.detach().float()


def _are_logits(value: Any, images: Tensor) -> TypeGuard[Tensor]:
    if not isinstance(value, Tensor):
        return False
    return value.dim() == 2 and len(value) == len(images) and value.shape[1] > 1
