"""Trained networks for use without PyTorch."""

import base64
import importlib.util
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import mnist_lightning
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.network import DigitCNN
from mnist_lightning.report import UNSURE


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


def to_html(model: MNISTClassifier, about: str = "") -> bytes:
    """Returns a page that holds a trained network and reads the digits that are drawn on it.

    It needs no network and no server: weights, preparation of the drawing and forward pass are
    in it.

    Args:
        model: One whose network is a ``DigitCNN`` for the ten digits.
        about: What is to stand on the page about these weights.

    Raises:
        UserError: If it has another network, or weights that are not finite.
    """
    network = model.network
    if type(network) is not DigitCNN or (classes := len([*network.parameters()][-1])) != 10:
        with_classes = f" with {classes} classes" if type(network) is DigitCNN else ""
        raise UserError(
            "the page computes DigitCNN with 10 classes, and this network is "
            f"{type(network).__name__}{with_classes}; export it with --format onnx"
        )
    state = network.folded().state_dict()
    weights = np.concatenate([value.float().cpu().numpy().ravel() for value in state.values()])
    if not np.isfinite(weights).all():
        raise UserError("the weights are no finite numbers, so there is nothing to export")
    parts = {
        "weights": base64.b64encode(weights.astype("<f4").tobytes()).decode(),
        "unsure": UNSURE,
        "about": f"Nothing leaves this page: it computes all by itself. {about}".strip(),
    }
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return page.replace("MODEL", json.dumps(parts).replace("<", "\\u003c"), 1).encode()
