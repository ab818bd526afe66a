"""Compares our model with the notebook's model in Keras: logits, gradients and steps agree."""

import os
import re
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

# Keras 3 on torch uses what numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def notebook(dropout: float = 0.2, output: str = "softmax", **first: Any) -> Any:
    """Returns the notebook's model; ``first`` changes options of its first layer."""
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
    """Returns a model without dropout whose weights and biases are all different."""
    torch.manual_seed(0)
    model = MNISTClassifier(dropout=0.0)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.1)
    return model


def in_keras_layout(model: MNISTClassifier, gradients: bool = False) -> list[Tensor]:
    """Returns the weights of our model, or their gradients, in the layout and order of Keras."""
    values = []
    for name, parameter in model.network.named_parameters():
        value = parameter.grad if gradients else parameter.detach()
        assert value is not None
        if value.dim() == 4:
            value = value.permute(2, 3, 1, 0)
        elif name == "head.1.weight":  # Keras flattens (rows, columns, channels)
            value = value.view(128, 16, 4, 4).permute(2, 3, 1, 0).reshape(256, 128)
        elif value.dim() == 2:
            value = value.T
        values.append(value)
    return values


def equal_models(dtype: torch.dtype, output: str = "softmax") -> tuple[MNISTClassifier, Any]:
    """Returns our model and the one in Keras with the same weights, both without dropout."""
    model, keras_model = classifier().to(dtype), notebook(dropout=0.0, output=output)
    keras_model.set_weights([value.numpy() for value in in_keras_layout(model)])
    return model, keras_model


def digits(data: MNISTDataModule, number: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns the images and labels of a batch of 128."""
    batch = data.train_set.subset(torch.arange(128 * number, 128 * (number + 1)))
    return batch.images.to(dtype) / 255, batch.labels


@pytest.fixture(params=[(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"])
def precision(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[torch.dtype, float]]:
    """A floating-point type, which is also set in Keras, and the tolerance for results."""
    # With torch, unlike with TensorFlow, the dense layers of Keras would compute in float32.
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    name = str(request.param[0]).removeprefix("torch.")
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    yield request.param
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("save", ["save", "save_weights"])
def test_logits_equal_those_of_keras_for_a_thousand_digits(
    save: str, tmp_path: Path, sample: MNISTDataModule
) -> None:
    _, keras_model = equal_models(torch.float32, output="linear")
    path = tmp_path / ("digits.keras" if save == "save" else "digits.weights.h5")
    getattr(keras_model, save)(path)
    loaded = MNISTClassifier.from_keras(path).eval()
    images = sample.test_set.images / 255
    assert len(images) == 1000
    with torch.inference_mode():
        expected, found = keras_model(images.permute(0, 2, 3, 1)), loaded(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert len(expected.argmax(dim=1).unique()) > 1  # the comparison covers several classes


def test_gradients_equal_those_of_keras(
    precision: tuple[torch.dtype, float], sample: MNISTDataModule
) -> None:
    dtype, tolerance = precision
    model, keras_model = equal_models(dtype)
    images, labels = digits(sample, 0, dtype)

    found_loss = functional.cross_entropy(model(images), labels)
    torch.autograd.backward(found_loss)
    probabilities = keras_model(images.permute(0, 2, 3, 1), training=True)
    expected_loss = keras.losses.SparseCategoricalCrossentropy()(labels, probabilities)
    torch.autograd.backward(expected_loss)

    torch.testing.assert_close(found_loss, expected_loss, rtol=0, atol=tolerance)
    for found, variable in zip(
        in_keras_layout(model, True), keras_model.trainable_variables, strict=True
    ):
        assert variable.value.grad.dtype == dtype
        assert variable.value.grad.abs().max() > 1e-3
        torch.testing.assert_close(found, variable.value.grad, rtol=0, atol=tolerance)


def test_steps_equal_those_of_keras(
    precision: tuple[torch.dtype, float], sample: MNISTDataModule
) -> None:
    """Keras adds epsilon before the bias correction of the second moment, PyTorch after it."""
    dtype, tolerance = precision
    model, keras_model = equal_models(dtype)
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, Adam)
    (group,) = optimizer.param_groups
    initial = [value.clone() for value in in_keras_layout(model)]
    for step in range(1, 4):
        group["eps"] = 1e-7 / (1 - 0.999**step) ** 0.5
        images, labels = digits(sample, step, dtype)
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(model(images), labels))
        optimizer.step()
        keras_model.train_on_batch(images.permute(0, 2, 3, 1).numpy(), labels.numpy())
    for found, expected, before in zip(
        in_keras_layout(model), keras_model.get_weights(), initial, strict=True
    ):
        assert (found - before).abs().max() > 1e-3
        # Adam divides even a gradient that is only a rounding error by its own size.
        tolerance = 1e-5 if dtype == torch.float32 else tolerance
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=0, atol=tolerance)


def test_ignores_the_state_of_the_optimizer_and_of_dropout(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    model, path = notebook(), tmp_path / "digits.weights.h5"
    images, labels = digits(sample, 0, torch.float32)
    model.train_on_batch(images.permute(0, 2, 3, 1).numpy(), labels.numpy())  # Adam's moments
    model.save_weights(path)
    with h5py.File(path, "a") as file:  # written by earlier versions of Keras 3
        file["layers/dropout/seed_generator/vars/0"] = [1, 2]
    loaded = MNISTClassifier.from_keras(path)
    for found, expected in zip(in_keras_layout(loaded), model.get_weights(), strict=True):
        torch.testing.assert_close(found, torch.as_tensor(expected))


def test_uses_the_dropout_rate_of_the_file_unless_it_is_passed(
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
        ({"activation": "tanh"}, "activation of a Conv2D layer is 'tanh' instead of 'relu'"),
        ({"padding": "same"}, "padding of a Conv2D layer is 'same' instead of 'valid'"),
        ({"strides": 2}, r"strides of a Conv2D layer is \[2, 2\] instead of \[1, 1\]"),
        ({"filters": 6}, r"the shapes of its weights are \(5, 5, 1, 6\), "),
        ({"use_bias": False}, r"the shapes of its weights are \(5, 5, 1, 8\), \(5, 5, 8, 16\), "),
    ],
    ids=str,
)
def test_rejects_layers_with_other_options(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.keras"
    notebook(**change).save(path)
    with pytest.raises(
        CheckpointError,
        match=rf"{re.escape(str(path))} does not contain the notebook's network: {words}",
    ):
        MNISTClassifier.from_keras(path)


@pytest.mark.parametrize(
    ("place", "layer"),
    [
        (1, layers.AveragePooling2D(2)),  # the weights have the same shapes
        (2, layers.BatchNormalization()),
        (2, layers.Lambda(lambda images: images * 2)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_rejects_other_layers(place: int, layer: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    all_layers = notebook().layers
    replaces = isinstance(layer, layers.AveragePooling2D)
    before, after = all_layers[:place], all_layers[place + replaces :]
    keras.Sequential([keras.Input((28, 28, 1)), *before, layer, *after]).save(path)
    kind = type(layer).__name__
    with pytest.raises(
        CheckpointError,
        match=f"not contain the notebook's network: its layers are Conv2D.* {kind},",
    ):
        MNISTClassifier.from_keras(path)


def test_rejects_weights_of_which_several_have_the_same_shape(tmp_path: Path) -> None:
    model = notebook()
    layer = layers.BatchNormalization()  # four vectors with the shape of the bias before it
    model = keras.Sequential([keras.Input((28, 28, 1)), model.layers[0], layer, *model.layers[1:]])
    model.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(CheckpointError, match="does not contain the notebook's network"):
        MNISTClassifier.from_keras(tmp_path / "other.weights.h5")


@pytest.mark.parametrize("name", ["digits.keras", "digits.weights.h5"])
def test_names_the_problem_with_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(CheckpointError, match=rf"{name} cannot be read \(No such file"):
        MNISTClassifier.from_keras(path)
    model = notebook()
    (model.save if name == "digits.keras" else model.save_weights)(path)
    complete = path.read_bytes()
    for content in (b"", b"weights", complete[: len(complete) // 2], complete[:-100]):
        path.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=f"{name} is not a Keras file, or it is truncated"
        ):
            MNISTClassifier.from_keras(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[]")
    with pytest.raises(CheckpointError, match="is not a Keras file"):
        MNISTClassifier.from_keras(path)


def test_says_how_to_install_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook().save(tmp_path / "digits.keras")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CheckpointError, match="pip install h5py"):
        MNISTClassifier.from_keras(tmp_path / "digits.keras")
