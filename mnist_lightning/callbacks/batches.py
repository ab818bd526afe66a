"""Checks and unpacks what a callback gets in each step: the batch and the step's output."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor


class UnsupportedBatchError(Exception):
    """A batch or a model lacks something that a callback requires; the message says what."""


def unpack_batch(batch: Any) -> tuple[Tensor, Tensor]:
    """Returns images of any shape ``(N, ...)`` and class labels ``(N,)``, int64, from a batch.

    Labels may be probabilities ``(N, num_classes)``. If no class has more than half, the label is
    -1.

    Raises:
        UnsupportedBatchError: If these are not the first two items of the batch.
    """
    items = batch[:2] if isinstance(batch, Sequence) else ()
    if len(items) < 2 or not all(isinstance(item, Tensor) for item in items):
        raise UnsupportedBatchError("batches that begin with images and labels")
    images, labels = items
    if labels.is_floating_point() and labels.dim() == 2:
        probabilities, classes = labels.max(dim=1)
        labels = classes.where(probabilities > 0.5, -1)
    if labels.is_floating_point() or labels.shape != images.shape[:1]:
        raise UnsupportedBatchError(
            f"integer labels of shape (N,), not {labels.dtype} of shape {tuple(labels.shape)}"
        )
    return images, labels.long()


def check_drawable(images: Tensor, expected_shape: torch.Size | None = None) -> None:
    """Checks that images can be drawn in one grid.

    Args:
        images: Images of a batch.
        expected_shape: Shape of each image in earlier batches.

    Raises:
        UnsupportedBatchError: If they are not ``(N, 1 or 3, H, W)``, or of another shape than
            earlier ones.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise UnsupportedBatchError(f"images of shape (N, 1 or 3, H, W), not {tuple(images.shape)}")
    shape = images.shape[1:]
    if expected_shape is not None and shape != expected_shape:
        raise UnsupportedBatchError(
            f"images of one size, not {tuple(expected_shape)} and {tuple(shape)}"
        )


def get_logits(
    trainer: Trainer, pl_module: LightningModule, outputs: Any, images: Tensor
) -> Tensor:
    """Returns the logits of a batch, float32 ``(N, num_classes)``.

    Uses the step's output if it is the logits or a mapping with the key ``"logits"``; otherwise
    runs the model's ``forward``.

    Raises:
        UnsupportedBatchError: If neither returns logits.
    """
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs
    if not _are_logits(logits, images):
        try:
            with trainer.precision_plugin.forward_context():
                logits = pl_module(images)
        except (NotImplementedError, TypeError) as error:  # no forward, or more arguments
            raise UnsupportedBatchError(
                "a model whose forward takes only images, or steps that return logits"
            ) from error
    if not _are_logits(logits, images):
        raise UnsupportedBatchError("a model whose forward maps images to logits (N, num_classes)")
    return logits.detach().float()


def _are_logits(value: Any, images: Tensor) -> TypeGuard[Tensor]:
    if not isinstance(value, Tensor):
        return False
    return value.dim() == 2 and len(value) == len(images) and value.shape[1] > 1
