"""The surest mistakes of our model and of others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import Drawing
from foreign import Foreign, loader
from torch import Tensor
from trainers import quiet_trainer

from mnist_lightning import MisclassifiedGrid, MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError


def test_shows_the_most_confident_mistakes(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model, callback = MNISTClassifier(), MisclassifiedGrid()
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[callback], limit_train_batches=20, max_epochs=2
    )
    trainer.fit(model, sample)
    trainer.test(model, sample, verbose=False)
    assert [(one.name, one.tag, one.epoch) for one in drawn] == [
        ("misclassified", "misclassified, validation", 2),
        ("misclassified", "misclassified, test", 2),
    ]

    images, labels = sample.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        probabilities = model.eval().predict_step(images)
    confidence, predicted = probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero().squeeze()
    surest = wrong[confidence[wrong].argsort(descending=True)][:25].tolist()
    assert drawn[1].title == f"MNIST sample, test images: {len(wrong)} mistakes"
    assert drawn[1].texts[:25] == [
        f"{labels[index]}  {probabilities[index, labels[index]]:.0%}\n"
        f"→ {predicted[index]}  {confidence[index]:.0%}"
        for index in surest
    ]
    mosaic = drawn[1].figure.axes[0].images[0].get_array()
    assert mosaic is not None
    ink = 25 * 28 * 28 * 255 - (255 - mosaic[..., 0].astype(int)).sum()
    shown = images[surest].sum() * 255
    assert 25 * 28 * 28 * 255 - ink == pytest.approx(float(shown), rel=1e-3)


class Sure(Foreign):
    """Is told its logits by the images."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2]


def fit(tmp_path: Path, images: Tensor, labels: Tensor, **kwargs: Any) -> None:
    callback = MisclassifiedGrid(class_names=["cat", "dog"], **kwargs)
    data = loader(images, labels)
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback])
    trainer.test(Sure(), data, verbose=False)
    assert len(callback._kept[1]) == callback.size**2  # whatever the size of the data


def test_right_ones_are_never_shown(tmp_path: Path, drawn: list[Drawing]) -> None:
    images = torch.zeros(9, 1, 2, 2)
    images[:, 0, 0, 0] = torch.linspace(0.1, 0.9, 9)  # all are taken for cats
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 1, 0, 0])
    fit(tmp_path, images, labels)
    (one,) = drawn
    assert one.title == "Test images: 2 mistakes"
    assert one.texts[:2] == ["dog  33%\n→ cat  67%", "dog  40%\n→ cat  60%"]
    assert len(one.texts) == 3  # and what the captions mean


def test_no_mistakes_at_all(tmp_path: Path, drawn: list[Drawing]) -> None:
    fit(tmp_path, torch.eye(2)[:1].repeat(5, 1).view(5, 1, 2, 1), torch.zeros(5, dtype=torch.long))
    assert drawn[0].title == "Test images: 0 mistakes"


def test_size_is_checked() -> None:
    with pytest.raises(
        InvalidArgumentError, match="size is -1; it must be an integer from 1 to 20"
    ):
        MisclassifiedGrid(size=-1)
