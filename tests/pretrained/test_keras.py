"""This is the notebook's model: Keras itself says so."""

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_TORCH_DEVICE"] = "cpu"
import h5py
import keras
from keras import layers
from keras.src.backend.common import dtypes

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import CheckpointError

# Keras 3 on torch is not quite ready for numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def notebook(dropout: float = 0.2, output: str = "softmax", **first: Any) -> Any:
    """Returns the notebook's model; ``first`` changes its first layer."""
    convolution = {"filters": 8, "kernel_size": 5, "activation": "relu"} | first
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(**convolution),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(dropout),
            layers.Dense(10, activation=output),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def classifier() -> MNISTClassifier:
    """Returns a model whose weights are all different, also the biases, without dropout."""
    torch.manual_seed(0)
    model = MNISTClassifier(dropout=0.0)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.1)
    return model


def as_keras(model: MNISTClassifier, gradients: bool = False) -> list[Tensor]:
    """Returns our weights, or their gradients, in the layout and order of Keras."""
    values = []
    for name, parameter in model.network.named_parameters():
        value = parameter.grad if gradients else parameter.detach()
        assert value is not None
        if value.dim() == 4:
            value = value.permute(2, 3, 1, 0)
        elif name == "head.1.weight":  # Keras flattens rows, columns, channels
            value = value.view(128, 16, 4, 4).permute(2, 3, 1, 0).reshape(256, 128)
        elif value.dim() == 2:
            value = value.T
        values.append(value)
    return values


def twins(dtype: torch.dtype, output: str = "softmax") -> tuple[MNISTClassifier, Any]:
    """Returns our model and Keras's with the same weights, neither with dropout."""
    ours, theirs = classifier().to(dtype), notebook(dropout=0.0, output=output)
    theirs.set_weights([value.numpy() for value in as_keras(ours)])
    return ours, theirs


def digits(data: MNISTDataModule, number: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns the images and labels of a batch of 128."""
    batch = data.train_set.subset(torch.arange(128 * number, 128 * (number + 1)))
    return batch.images.to(dtype) / 255, batch.labels


@pytest.fixture(params=[(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"])
def precision(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[torch.dtype, float]]:
    """A number type, which Keras uses too, and how far results may lie apart."""
    # On torch, unlike on TensorFlow, Keras's dense layers would compute in float32.
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    name = str(request.param[0]).removeprefix("torch.")
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    yield request.param
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("save", ["save", "save_weights"])
def test_gives_the_logits_of_keras_on_a_thousand_digits(
    save: str, tmp_path: Path, sample: MNISTDataModule
) -> None:
    _, model = twins(torch.float32, output="linear")
    path = tmp_path / ("digits.keras" if save == "save" else "digits.weights.h5")
    getattr(model, save)(path)
    loaded = MNISTClassifier.from_keras(path).eval()
    images = sample.test_set.images / 255
    assert len(images) == 1000
    with torch.inference_mode():
        expected, found = model(images.permute(0, 2, 3, 1)), loaded(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert len(expected.argmax(dim=1).unique()) > 1  # there is something to compare


def test_gives_the_gradients_of_keras(
    precision: tuple[torch.dtype, float], sample: MNISTDataModule
) -> None:
    dtype, most = precision
    ours, theirs = twins(dtype)
    images, labels = digits(sample, 0, dtype)

    found_loss = functional.cross_entropy(ours(images), labels)
    torch.autograd.backward(found_loss)
    probabilities = theirs(images.permute(0, 2, 3, 1), training=True)
    expected_loss = keras.losses.SparseCategoricalCrossentropy()(labels, probabilities)
    torch.autograd.backward(expected_loss)

    torch.testing.assert_close(found_loss, expected_loss, rtol=0, atol=most)
    for found, variable in zip(as_keras(ours, True), theirs.trainable_variables, strict=True):
        assert variable.value.grad.dtype == dtype
        assert variable.value.grad.abs().max() > 1e-3
        torch.testing.assert_close(found, variable.value.grad, rtol=0, atol=most)


def test_takes_the_steps_of_keras(
    precision: tuple[torch.dtype, float], sample: MNISTDataModule
) -> None:
    """Keras adds epsilon before it corrects the second moment's bias, PyTorch after it."""
    dtype, most = precision
    ours, theirs = twins(dtype)
    optimizer = ours.configure_optimizers()
    assert isinstance(optimizer, Adam)
    (group,) = optimizer.param_groups
    begin = [value.clone() for value in as_keras(ours)]
    for step in range(1, 4):
        group["eps"] = 1e-7 / (1 - 0.999**step) ** 0.5
        images, labels = digits(sample, step, dtype)
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(ours(images), labels))
        optimizer.step()
        theirs.train_on_batch(images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    for found, expected, before in zip(as_keras(ours), theirs.get_weights(), begin, strict=True):
        assert (found - before).abs().max() > 1e-3
        # A gradient of nothing but rounding is divided by its own size.
        most = 1e-5 if dtype == torch.float32 else most
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=0, atol=most)


def test_what_a_training_adds_to_a_file_is_left_out(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    model, path = notebook(), tmp_path / "digits.weights.h5"
    images, labels = digits(sample, 0, torch.float32)
    model.train_on_batch(images.permute(0, 2, 3, 1).numpy(), labels.numpy())  # Adam's moments
    model.save_weights(path)
    with h5py.File(path, "a") as file:  # as earlier versions of Keras 3 write it
        file["layers/dropout/seed_generator/vars/0"] = [1, 2]
    loaded = MNISTClassifier.from_keras(path)
    for found, expected in zip(as_keras(loaded), model.get_weights(), strict=True):
        torch.testing.assert_close(found, torch.as_tensor(expected))


def test_a_keras_file_brings_its_rate_of_dropout_and_arguments_reach_the_model(
    tmp_path: Path,
) -> None:
    notebook(dropout=0.35).save(tmp_path / "digits.keras")
    model = MNISTClassifier.from_keras(tmp_path / "digits.keras", learning_rate=0.5)
    (dropout,) = (module for module in model.modules() if isinstance(module, nn.Dropout))
    assert (dropout.p, model.hparams["dropout"]) == (0.35, 0.35)
    assert model.learning_rate == 0.5
    model = MNISTClassifier.from_keras(str(tmp_path / "digits.keras"), dropout=0.1)
    assert model.hparams["dropout"] == 0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "tanh"}, "in a layer Conv2D activation is 'tanh' instead of 'relu'"),
        ({"padding": "same"}, "in a layer Conv2D padding is 'same' instead of 'valid'"),
        ({"strides": 2}, r"in a layer Conv2D strides is \[2, 2\] instead of \[1, 1\]"),
        ({"filters": 6}, r"its weights have the shapes \(5, 5, 1, 6\), "),
        ({"use_bias": False}, r"its weights have the shapes \(5, 5, 1, 8\), \(5, 5, 8, 16\), "),
    ],
    ids=str,
)
def test_refuses_layers_with_other_options(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.keras"
    notebook(**change).save(path)
    with pytest.raises(CheckpointError, match=rf"{path} is of another network.*: {words}"):
        MNISTClassifier.from_keras(path)


@pytest.mark.parametrize(
    ("place", "layer"),
    [
        (1, layers.AveragePooling2D(2)),  # whose weights look the same
        (2, layers.BatchNormalization()),
        (2, layers.Lambda(lambda images: images * 2)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_refuses_other_layers(place: int, layer: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    all_layers = notebook().layers
    same_place = isinstance(layer, layers.AveragePooling2D)
    before, behind = all_layers[:place], all_layers[place + same_place :]
    keras.Sequential([keras.Input((28, 28, 1)), *before, layer, *behind]).save(path)
    kind = type(layer).__name__
    with pytest.raises(CheckpointError, match=f"another network.*its layers are Conv2D.* {kind},"):
        MNISTClassifier.from_keras(path)


def test_refuses_weights_of_other_shapes_where_some_are_alike(tmp_path: Path) -> None:
    model = notebook()
    layer = layers.BatchNormalization()  # four vectors as long as the bias before it
    model = keras.Sequential([keras.Input((28, 28, 1)), model.layers[0], layer, *model.layers[1:]])
    model.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(CheckpointError, match="another network"):
        MNISTClassifier.from_keras(tmp_path / "other.weights.h5")


@pytest.mark.parametrize("name", ["digits.keras", "digits.weights.h5"])
def test_says_what_is_wrong_with_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read \(No such file"):
        MNISTClassifier.from_keras(path)
    model = notebook()
    (model.save if name == "digits.keras" else model.save_weights)(path)
    whole = path.read_bytes()
    for content in (b"", b"weights", whole[: len(whole) // 2], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}.* no file of Keras, or not a whole one"):
            MNISTClassifier.from_keras(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[]")
    with pytest.raises(CheckpointError, match="no file of Keras"):
        MNISTClassifier.from_keras(path)


def test_says_how_to_get_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook().save(tmp_path / "digits.keras")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CheckpointError, match="pip install h5py"):
        MNISTClassifier.from_keras(tmp_path / "digits.keras")
