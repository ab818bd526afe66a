"""A page to draw on."""

import base64
import json
from pathlib import Path

import numpy as np

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.network import DigitCNN
from mnist_lightning.pictures import UNSURE_BELOW


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
        "unsure": UNSURE_BELOW,
        "about": f"Nothing leaves this page: it computes all by itself. {about}".strip(),
    }
    page = (Path(__file__).parent / "page" / "page.html").read_text(encoding="utf-8")
    return page.replace("MODEL", json.dumps(parts).replace("<", "\\u003c"), 1).encode()
