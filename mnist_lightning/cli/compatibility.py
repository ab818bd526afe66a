"""Checks that the user's network and augmentation fit the data before anything is written."""

import torch
from torch import Tensor, nn

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError


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
    if model.example_input_array is None:  # a network of the user's own
        network = model.network
        has_parameters = any(True for _ in network.parameters())
        if not (has_parameters and _maps_digits_to(network, (model.num_classes,))):
            raise InvalidArgumentError(
                "--model.network",
                type(network).__name__,
                "it must have parameters and map images (N, 1, 28, 28) to logits "
                f"(N, {model.num_classes})",
            )
        model.example_input_array = torch.zeros(1, 1, 28, 28)  # for TensorBoard's graph
    augment = datamodule.augment
    if augment is not None and not _maps_digits_to(augment, (1, 28, 28)):
        raise InvalidArgumentError(
            "--data.augment", type(augment).__name__, "it must map images to images of equal size"
        )


def _maps_digits_to(module: nn.Module, shape: tuple[int, ...]) -> bool:
    """Returns whether a module maps digits ``(2, 1, 28, 28)`` to a tensor ``(2, *shape)``."""
    was_training = module.training
    try:
        with torch.no_grad():
            output = module.eval()(torch.zeros(2, 1, 28, 28))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return False
    finally:
        module.train(was_training)
    return isinstance(output, Tensor) and output.shape == (2, *shape)
