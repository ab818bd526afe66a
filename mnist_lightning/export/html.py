"""Exports a network as an HTML page that reads the digits drawn on it."""

import base64
import json
from pathlib import Path
from string import Template

import numpy as np

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.network import DigitCNN
from mnist_lightning.pictures import UNSURE_BELOW

ABOUT = (
    "The network knows only the digits 0 to 9. Everything is computed in the page; nothing is "
    "uploaded."
)
PAGE_DIR = Path(__file__).parent / "page"
SCRIPTS = (
    "network",
    "image_math",
    "ink",
    "normalize",
    "segment",
    "digits",
    "drawing",
    "prediction",
    "events",
)


def to_html(model: MNISTClassifier, about: str = "") -> bytes:
    """Returns a self-contained HTML page that reads the digits drawn on it.

    The page holds the weights, the preparation of drawings and pictures, and the forward pass. It
    needs no server and sends no requests.

    Args:
        model: A model whose network is a ``DigitCNN`` for the ten digits.
        about: A sentence about the weights, shown on the page.

    Raises:
        UserError: If the network is another one, or a weight is NaN or infinite.
    """
    content = {
        "weights": base64.b64encode(_weights(model).tobytes()).decode(),
        "unsureBelow": UNSURE_BELOW,
        "about": f"{ABOUT} {about}".strip(),
    }
    template = Template(_read("page.html"))
    page = template.substitute(
        style=_read("page.css"),
        script="\n".join(_read(f"{name}.js") for name in SCRIPTS),
        model=json.dumps(content).replace("<", "\\u003c"),  # so that no text can end the script
    )
    return page.encode()


def _weights(model: MNISTClassifier) -> np.ndarray:
    """Returns the weights of all layers, batch normalization folded in, as one float32 array."""
    network = model.network
    if type(network) is not DigitCNN or (num_classes := len([*network.parameters()][-1])) != 10:
        classes = f" with {num_classes} classes" if type(network) is DigitCNN else ""
        raise UserError(
            f"the HTML page supports only DigitCNN with 10 classes, but this network is "
            f"{type(network).__name__}{classes}; export it with --format onnx"
        )
    state = network.folded().state_dict()
    weights = np.concatenate([value.float().cpu().numpy().ravel() for value in state.values()])
    if not np.isfinite(weights).all():
        raise UserError(
            "the weights contain NaN or infinity; export a checkpoint from before training diverged"
        )
    return weights.astype("<f4")  # little-endian, as browsers read it


def _read(name: str) -> str:
    return (PAGE_DIR / name).read_text(encoding="utf-8")
