"""Exports a network in the Open Neural Network Exchange format."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import mnist_lightning
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.network import DigitCNN


def to_onnx(model: MNISTClassifier, about: str = "") -> bytes:
    """Returns the content of an ONNX file, which many runtimes read.

    Its input ``images`` is float32 ``(batch, 1, 28, 28)`` in [0, 1], ink light; its output
    ``probabilities`` is float32 ``(batch, num_classes)``. The file documents both.

    Args:
        model: The model; if its network is not a ``DigitCNN``, the input has the shape of its
            ``example_input_array``.
        about: A sentence about the weights, stored in the file.

    Raises:
        UserError: If the package onnx or onnxscript is missing, or ``example_input_array`` is.
    """
    _check_packages()
    images = model.example_input_array
    if not isinstance(images, Tensor):
        raise UserError(
            "ONNX export requires the model's example_input_array; set it to a batch of images"
        )
    is_training = model.training
    try:
        proto = _trace(model.network, images)
    finally:
        model.train(is_training)
    _document(proto, model, images.shape, about)
    content: bytes = proto.SerializeToString()
    return content


def _check_packages() -> None:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"ONNX export requires {package}; install it with: pip install {package}"
            )


def _trace(network: nn.Module, images: Tensor) -> Any:
    """Returns the network, followed by softmax, as a protocol buffer."""
    if isinstance(network, DigitCNN):
        network = network.folded()  # without batch normalization
    with _quiet_exporter():
        program = torch.onnx.export(
            nn.Sequential(network, nn.Softmax(dim=1)).eval(),
            (images.repeat(2, 1, 1, 1),),  # with a single image, the batch size would be fixed
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silences PyTorch's exporter, which reports its own deprecations and a missing torchvision."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _document(proto: Any, model: MNISTClassifier, shape: torch.Size, about: str) -> None:
    """Writes into the file what it is and what goes in and out."""
    proto.doc_string = f"Classifies handwritten digits. {about}".strip()
    proto.producer_name, proto.producer_version = "mnist_lightning", mnist_lightning.__version__
    proto.graph.name = "digits"
    [images], [probabilities] = proto.graph.input, proto.graph.output
    channels, height, width = shape[1:]
    images.doc_string = f"float32 (batch, {channels}, {height}, {width}) in [0, 1], ink light"
    probabilities.doc_string = f"float32 (batch, {model.num_classes}), rows add up to 1"
