"""The notebook's model as Keras saves it, as weights for ``DigitCNN``."""

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
# What the shapes of the weights do not tell.
_LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("Conv2D", _CONVOLUTION),
    ("MaxPooling2D", _POOLING),
    ("Conv2D", _CONVOLUTION),
    ("MaxPooling2D", _POOLING),
    ("Flatten", {}),
    ("Dense", {"activation": "relu"}),
    ("Dense", {}),  # softmax or logits: the weights are the same
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


def read(path: Path) -> tuple[dict[str, Tensor], float | None]:
    """Reads the notebook's model; nothing in the file is run.

    Args:
        path: A ``.keras`` file, or the weights alone in HDF5, such as ``.weights.h5``.

    Returns:
        The weights by their names in ``DigitCNN``, and the rate of dropout, which only a ``.keras``
        file tells.

    Raises:
        CheckpointError: If the file cannot be read, or is of another network; weights alone do
            not tell activations and the kind of pooling. Also if h5py is not installed.
    """
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                return _read_weights(path, file), None
            with zipfile.ZipFile(file) as archive:
                dropout = _check_layers(path, json.loads(archive.read("config.json")))
                with archive.open("model.weights.h5") as weights:
                    return _read_weights(path, weights), dropout
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is no file of Keras, or not a whole one") from error
    except OSError as error:
        reason = error.strerror or "it is no file of Keras, or not a whole one"
        raise CheckpointError(f"{path} cannot be read ({reason})") from error


def _check_layers(path: Path, model: dict[str, Any]) -> float:
    """Compares the layers with those of the notebook and returns the rate of dropout."""
    layers = [(layer["class_name"], layer["config"]) for layer in model["config"].get("layers", ())]
    rates = [config["rate"] for kind, config in layers if kind == "Dropout"]
    layers = [layer for layer in layers if layer[0] not in ("InputLayer", "Dropout")]
    kinds, wanted_kinds = [kind for kind, _ in layers], [kind for kind, _ in _LAYERS]
    if kinds != wanted_kinds:
        raise CheckpointError(
            f"{path} is of another network than the notebook's: its layers are "
            f"{', '.join(kinds) or 'none'} instead of {', '.join(wanted_kinds)}"
        )
    for (kind, options), (_, config) in zip(_LAYERS, layers, strict=True):
        for name, value in options.items():
            if config.get(name) != value:
                raise CheckpointError(
                    f"{path} is of another network than the notebook's: in a layer {kind} "
                    f"{name} is {config.get(name)!r} instead of {value!r}"
                )
    return float(rates[0]) if rates else 0.0


def _read_weights(path: Path, file: IO[bytes]) -> dict[str, Tensor]:
    try:
        import h5py  # an extra, which nothing else needs
    except ImportError as error:
        raise CheckpointError(
            "reading files of Keras needs h5py; install it with: pip install h5py"
        ) from error
    found: list[h5py.Dataset] = []

    def collect(name: str, item: Any) -> None:
        # Names differ between versions of Keras, but no two weights of this network are alike.
        internal = name.startswith("optimizer") or "seed_generator" in name
        if isinstance(item, h5py.Dataset) and not internal:
            found.append(item)

    with h5py.File(file, "r") as stored:
        stored.visititems(collect)
        shapes = [item.shape for item in found]
        if sorted(shapes) != sorted(_SHAPES.values()):
            raise CheckpointError(
                f"{path} is of another network than the notebook's: its weights have the shapes "
                f"{', '.join(map(str, shapes)) or 'none'} instead of "
                f"{', '.join(map(str, _SHAPES.values()))}"
            )
        arrays = {item.shape: item[()] for item in found}
        weights = {name: torch.from_numpy(arrays[shape]) for name, shape in _SHAPES.items()}
    for name in ("features.0.weight", "features.3.weight"):
        weights[name] = weights[name].permute(3, 2, 0, 1)  # from (height, width, in, out)
    # Keras flattens rows, columns, channels; PyTorch has the channels first.
    dense = weights["head.1.weight"].view(4, 4, 16, 128)
    weights["head.1.weight"] = dense.permute(3, 2, 0, 1).reshape(128, 256)
    weights["head.4.weight"] = weights["head.4.weight"].T
    return weights
