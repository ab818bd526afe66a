"""Converts the weights of the notebook's Keras model to weights for ``DigitCNN``."""

import json
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from mnist_lightning.errors import CheckpointError

_CONVOLUTION = {
    "activation": "relu",
    "data_format": "channels_last",
    "dilation_rate": [1, 1],
    "padding": "valid",
    "strides": [1, 1],
}
_POOLING = {
    "data_format": "channels_last",
    "padding": "valid",
    "pool_size": [2, 2],
    "strides": [2, 2],
}
# The options that cannot be seen from the shapes of the weights.
_LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("Conv2D", _CONVOLUTION),
    ("MaxPooling2D", _POOLING),
    ("Conv2D", _CONVOLUTION),
    ("MaxPooling2D", _POOLING),
    ("Flatten", {}),
    ("Dense", {"activation": "relu"}),
    ("Dense", {}),  # the weights are the same with and without softmax
]
_SHAPES = {
    "features.0.weight": (5, 5, 1, 8),
    "features.0.bias": (8,),
    "features.3.weight": (5, 5, 8, 16),
    "features.3.bias": (16,),
    "head.1.weight": (256, 128),
    "head.1.bias": (128,),
    "head.4.weight": (128, 10),
    "head.4.bias": (10,),
}


def read_keras(path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Reads the weights of the notebook's model without running code from the file.

    Args:
        path: A ``.keras`` file, or weights only in HDF5, such as ``.weights.h5``.

    Returns:
        The weights by their names in ``DigitCNN``, and the arguments of the network that the file
        contains: ``dropout``, unless it contains weights only.

    Raises:
        CheckpointError: If the file cannot be read or contains a different network (for weights
            only, activations and kinds of pooling cannot be checked), or h5py is not installed.
    """
    not_keras = "is not a Keras file, or it is truncated"
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                return _read_weights(path, file), {}
            with zipfile.ZipFile(file) as archive:
                dropout = _check_layers(path, json.loads(archive.read("config.json")))
                with archive.open("model.weights.h5") as weights:
                    return _read_weights(path, weights), {"dropout": dropout}
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} {not_keras}") from error
    except OSError as error:  # h5py's own have no strerror
        reason = f"cannot be read ({error.strerror})" if error.strerror else not_keras
        raise CheckpointError(f"{path} {reason}") from error


def _check_layers(path: Path, model: dict[str, Any]) -> float:
    """Compares the layers with those of the notebook and returns the dropout rate."""
    layers = [(layer["class_name"], layer["config"]) for layer in model["config"].get("layers", ())]
    rates = [config["rate"] for kind, config in layers if kind == "Dropout"]
    layers = [layer for layer in layers if layer[0] not in ("InputLayer", "Dropout")]
    kinds, expected_kinds = [kind for kind, _ in layers], [kind for kind, _ in _LAYERS]
    if kinds != expected_kinds:
        raise CheckpointError(
            f"{path} does not contain the notebook's network: its layers are "
            f"{', '.join(kinds) or 'none'} instead of {', '.join(expected_kinds)}"
        )
    for (kind, options), (_, config) in zip(_LAYERS, layers, strict=True):
        for name, value in options.items():
            if config.get(name) != value:
                raise CheckpointError(
                    f"{path} does not contain the notebook's network: {name} of a "
                    f"{kind} layer is {config.get(name)!r} instead of {value!r}"
                )
    return float(rates[0]) if rates else 0.0


def _read_weights(path: Path, file: IO[bytes]) -> dict[str, Tensor]:
    try:
        import h5py  # an extra, which only this function uses
    except ImportError as error:
        raise CheckpointError(
            "reading Keras files requires h5py; install it with: pip install h5py"
        ) from error
    found: list[h5py.Dataset] = []

    def collect(name: str, item: Any) -> None:
        is_internal = name.startswith("optimizer") or "seed_generator" in name
        if isinstance(item, h5py.Dataset) and not is_internal:
            found.append(item)

    with h5py.File(file, "r") as stored:
        stored.visititems(collect)
        shapes = [item.shape for item in found]
        if sorted(shapes) != sorted(_SHAPES.values()):
            raise CheckpointError(
                f"{path} does not contain the notebook's network: the shapes of its "
                f"weights are {', '.join(map(str, shapes)) or 'none'} instead of "
                f"{', '.join(map(str, _SHAPES.values()))}"
            )
        # Names differ between versions of Keras, but all shapes in this network are different.
        arrays = {item.shape: item[()] for item in found}
    return _to_pytorch({name: torch.from_numpy(arrays[shape]) for name, shape in _SHAPES.items()})


def _to_pytorch(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Converts weights from the layout of Keras to that of PyTorch."""
    for name in ("features.0.weight", "features.3.weight"):
        weights[name] = weights[name].permute(3, 2, 0, 1)  # from (height, width, in, out)
    # Keras flattens (rows, columns, channels), PyTorch (channels, rows, columns).
    dense = weights["head.1.weight"].view(4, 4, 16, 128)
    weights["head.1.weight"] = dense.permute(3, 2, 0, 1).reshape(128, 256)
    weights["head.4.weight"] = weights["head.4.weight"].T
    return weights
