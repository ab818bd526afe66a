"""Trained networks for use without PyTorch."""

import importlib.util
import logging
import warnings

import torch
from torch import nn

import mnist_lightning
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.network import DigitCNN


def to_onnx(model: MNISTClassifier, about: str = "") -> bytes:
    """Returns a model in the Open Neural Network Exchange format, which many runtimes read.

    Its input ``images`` is float32 ``(batch, 1, 28, 28)`` in [0, 1], ink light, its output
    ``probabilities`` float32 ``(batch, num_classes)``; both stand in the file with an explanation.

    Args:
        model: What has another network takes the shape of its ``example_input_array``.
        about: What is to stand in the file about these weights.

    Raises:
        UserError: If the packages onnx and onnxscript are missing.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"exporting ONNX needs {package}; install it with: pip install {package}"
            )
    network = model.network
    if isinstance(network, DigitCNN):
        network = network.folded()  # without batch normalisation
    example = model.example_input_array
    if not isinstance(example, torch.Tensor):
        raise UserError("exporting needs the model's example_input_array; set it to a batch")
    training = model.training
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # else it tells that torchvision is missing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what PyTorch uses inside
            program = torch.onnx.export(
                nn.Sequential(network, nn.Softmax(dim=1)).eval(),
                (example.repeat(2, 1, 1, 1),),  # of one image the batch would be taken for fixed
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    finally:
        exporter.setLevel(level)
        model.train(training)
    assert program is not None
    proto = program.model_proto
    channels, height, width = example.shape[1:]
    proto.doc_string = f"Classifies handwritten digits. {about}".strip()
    proto.producer_name, proto.producer_version = "mnist_lightning", mnist_lightning.__version__
    proto.graph.name = "digits"
    [images], [probabilities] = proto.graph.input, proto.graph.output
    images.doc_string = f"float32 (batch, {channels}, {height}, {width}) in [0, 1], ink light"
    probabilities.doc_string = f"float32 (batch, {model.num_classes}), rows add up to 1"
    content: bytes = proto.SerializeToString()
    return content
