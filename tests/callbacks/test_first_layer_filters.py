"""The callback FirstLayerFilters."""

from pathlib import Path

import pytest
from drawings import Drawing, logged_messages
from foreign import ForeignClassifier
from torch import nn
from trainers import quiet_trainer

from mnist_lightning import DigitCNN, FirstLayerFilters, MNISTClassifier, MNISTDataModule


def test_shows_the_trained_kernels(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model = MNISTClassifier()
    quiet_trainer(
        default_root_dir=tmp_path,
        callbacks=[FirstLayerFilters()],
        limit_train_batches=3,
        max_epochs=2,
    ).fit(model, sample)
    (drawing,) = drawn
    assert (drawing.name, drawing.tag, drawing.epoch) == ("filters", "filters", 2)
    assert drawing.title == "MNIST sample, filters of the first layer"
    assert isinstance(model.network, DigitCNN)
    layer = model.network.features[0]
    assert isinstance(layer, nn.Conv2d)
    limit = float(layer.weight.detach().abs().max())
    _, colorbar = drawing.figure.axes
    assert colorbar.get_ylim() == pytest.approx((-limit, limit))


def test_warns_about_a_model_without_convolution(
    tmp_path: Path,
    sample: MNISTDataModule,
    drawn: list[Drawing],
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet_trainer(
        default_root_dir=tmp_path,
        callbacks=[FirstLayerFilters()],
        limit_train_batches=1,
        max_epochs=1,
    ).fit(ForeignClassifier(), sample)
    assert drawn == []
    assert logged_messages(caplog) == [
        "FirstLayerFilters is disabled: it requires a model with a Conv2d"
    ]
