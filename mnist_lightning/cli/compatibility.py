"""Checks that the user's network and augmentation fit the data before anything is written."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from mnist_lightning.augment import augment_batch
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Raised by modules that are made for other inputs.
EXPECTED_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def check_compatibility(model: MNISTClassifier, datamodule: MNISTDataModule) -> None:
    """Checks that model and data fit each other.

    Raises:
        InvalidArgumentError: If they do not; names the option.
    """
    required_classes = len(datamodule.class_names)
    if model.num_classes < required_classes:
        raise InvalidArgumentError(
            "--model.num_classes", model.num_classes, f"the data have {required_classes} classes"
        )
    if not any(True for _ in model.network.parameters()):
        raise InvalidArgumentError(
            "--model.network", type(model.network).__name__, "it must have parameters to train"
        )
    if type(datamodule) is not MNISTDataModule:
        return  # its images may have another shape
    _check_output("--model.network", model.network, model.network, (model.num_classes,))
    if (augment := datamodule.augment) is not None:
        _check_output(
            "--data.augment",
            augment,
            lambda images: _augment(augment, images, model.num_classes),
            (1, 28, 28),
        )


def check_normalization(model: nn.Module, trainer: Trainer, is_synchronized: bool) -> None:
    """Checks that PyTorch can synchronize the batch normalization of several processes.

    Raises:
        InvalidArgumentError: If a scale cannot be trained, as in ``DigitCNN``.
    """
    has_fixed_scale = any(
        isinstance(layer, BATCH_NORM) and "weight" in dict(layer.named_buffers())
        for layer in model.modules()
    )
    if is_synchronized and trainer.world_size > 1 and has_fixed_scale:
        raise InvalidArgumentError(
            "--trainer.sync_batchnorm",
            True,
            "PyTorch cannot synchronize the normalization of DigitCNN, because it has no trainable "
            "scale; leave the option out",
        )


def _augment(augment: nn.Module, images: Tensor, num_classes: int) -> Tensor:
    """Returns augmented images of the last class, and checks their new labels."""
    labels = torch.full((len(images),), num_classes - 1)
    images, labels = augment_batch(augment, images, labels)
    if labels.dim() > 1 and labels.shape[1] != num_classes:
        raise ValueError(f"it returned labels for {labels.shape[1]} classes, not {num_classes}")
    return images


def _check_output(
    option: str,
    module: nn.Module,
    function: Callable[[Tensor], Any],
    shape: tuple[int, ...],
) -> None:
    """Checks that a function of a module maps digits ``(N, 1, 28, 28)`` to ``(N, *shape)``."""
    wanted = f"it must map images (N, 1, 28, 28) to (N, {', '.join(map(str, shape))})"
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()
            output = function(torch.zeros(2, 1, 28, 28))
    except EXPECTED_ERRORS as error:
        problem = f"{wanted}, but it raised {type(error).__name__}: {error}"
        raise InvalidArgumentError(option, type(module).__name__, problem) from error
    finally:
        module.train(was_training)
    if not isinstance(output, Tensor) or output.shape != (2, *shape):
        result = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        problem = f"{wanted}; it maps (2, 1, 28, 28) to {result}"
        raise InvalidArgumentError(option, type(module).__name__, problem)
