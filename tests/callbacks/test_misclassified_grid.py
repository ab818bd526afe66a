"""The callback MisclassifiedGrid."""

from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import Drawing, mosaic
from foreign import ForeignClassifier, loader
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
    assert [(drawing.name, drawing.tag, drawing.epoch) for drawing in drawn] == [
        ("misclassified", "misclassified, validation", 2),
        ("misclassified", "misclassified, test", 2),
    ]

    images, labels = sample.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        probabilities = model.eval().predict_step(images)
    confidence, predicted = probabilities.max(dim=1)
    mistakes = (predicted != labels).nonzero().squeeze()
    shown = mistakes[confidence[mistakes].argsort(descending=True)][:25].tolist()
    assert drawn[1].title == f"MNIST sample, test images: {len(mistakes)} mistakes"
    assert drawn[1].texts[:25] == [
        f"{labels[index]}  {probabilities[index, labels[index]]:.0%}\n"
        f"→ {predicted[index]}  {confidence[index]:.0%}"
        for index in shown
    ]
    ink = (255 - mosaic(drawn[1].figure)[..., 0].astype(int)).sum()
    assert ink == pytest.approx(255 * float(images[shown].sum()), rel=1e-3)


class PixelsAsLogits(ForeignClassifier):
    """Uses the first two pixels of an image as its logits."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2]

    def all_gather(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        *candidates, _ = data
        self.gathered_lengths = [len(tensor) for tensor in candidates]
        return super().all_gather(data, *args, **kwargs)


def run_test(tmp_path: Path, images: Tensor, labels: Tensor) -> None:
    callback, model = MisclassifiedGrid(class_names=["cat", "dog"]), PixelsAsLogits()
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback])
    trainer.test(model, loader(images, labels), verbose=False)
    # all_gather requires equal shapes from all processes, whatever the number of their images.
    assert model.gathered_lengths == [callback.size**2] * 4


def test_never_shows_correct_predictions(tmp_path: Path, drawn: list[Drawing]) -> None:
    images = torch.zeros(9, 1, 2, 2)
    images[:, 0, 0, 0] = torch.linspace(0.1, 0.9, 9)  # all are predicted as cats
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 1, 0, 0])
    run_test(tmp_path, images, labels)
    (drawing,) = drawn
    assert drawing.title == "Test images: 2 mistakes"
    assert drawing.texts[:2] == ["dog  33%\n→ cat  67%", "dog  40%\n→ cat  60%"]
    assert len(drawing.texts) == 3  # with the legend


def test_supports_no_mistakes(tmp_path: Path, drawn: list[Drawing]) -> None:
    images = torch.eye(2)[:1].repeat(5, 1).view(5, 1, 2, 1)
    run_test(tmp_path, images, torch.zeros(5, dtype=torch.long))
    assert drawn[0].title == "Test images: 0 mistakes"


def test_checks_size() -> None:
    with pytest.raises(
        InvalidArgumentError, match="size is -1; it must be an integer from 1 to 20"
    ):
        MisclassifiedGrid(size=-1)
