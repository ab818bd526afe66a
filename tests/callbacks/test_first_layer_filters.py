"""The kernels of our network and of others."""

from pathlib import Path

import pytest
from drawings import Drawing, said
from foreign import Foreign
from torch import nn
from trainers import quiet_trainer

from mnist_lightning import DigitCNN, FirstLayerFilters, MNISTClassifier, MNISTDataModule


def test_draws_the_trained_kernels(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model = MNISTClassifier()
    quiet_trainer(
        default_root_dir=tmp_path,
        callbacks=[FirstLayerFilters()],
        limit_train_batches=3,
        max_epochs=2,
    ).fit(model, sample)
    (one,) = drawn
    assert (one.name, one.tag, one.epoch) == ("filters", "filters", 2)
    assert one.title == "MNIST sample, filters of the first layer"
    assert isinstance(model.network, DigitCNN)
    layer = model.network.features[0]
    assert isinstance(layer, nn.Conv2d)
    limit = float(layer.weight.detach().abs().max())
    _, scale = one.figure.axes
    assert scale.get_ylim() == pytest.approx((-limit, limit))


def test_says_what_it_lacks(
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
    ).fit(Foreign(), sample)
    assert drawn == []
    assert said(caplog) == ["FirstLayerFilters draws nothing: it needs a model with a Conv2d"]
