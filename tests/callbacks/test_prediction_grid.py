"""The callback PredictionGrid."""

from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import Drawing, held_bytes
from foreign import ForeignClassifier, loader
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning import MNISTClassifier, MNISTDataModule, PredictionGrid
from mnist_lightning.errors import InvalidArgumentError


def trainer_for(folder: Path, callback: PredictionGrid, **kwargs: Any) -> Trainer:
    options = {"limit_train_batches": 1, "max_epochs": 2, "default_root_dir": folder}
    return quiet_trainer(callbacks=[callback], **options | kwargs)


def test_shows_validation_images_each_epoch_and_test_images_after_the_test(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model = MNISTClassifier()
    trainer = trainer_for(tmp_path, PredictionGrid())
    trainer.fit(model, sample)
    trainer.test(model, sample, verbose=False)
    assert [(drawing.name, drawing.tag, drawing.epoch) for drawing in drawn] == [
        ("predictions", "predictions, validation", 1),
        ("predictions", "predictions, validation", 2),
        ("predictions", "predictions, test", 2),
    ]
    titles = [drawing.title.split(":")[0] for drawing in drawn]
    assert titles == ["MNIST sample, validation images"] * 2 + ["MNIST sample, test images"]

    for dataset, drawing in zip((sample.val_set, sample.test_set), drawn[1:], strict=True):
        images, labels = dataset.batch(torch.arange(25))
        probabilities = model.eval().predict_step(images)
        confidence, predicted = probabilities.max(dim=1)
        for index in range(25):
            is_mistake = bool(labels[index] != predicted[index])
            expected = f"{labels[index]}→{predicted[index]}  {confidence[index]:.0%}"
            assert drawing.texts[index] == expected + " ✗" * is_mistake


def test_keeps_only_the_images_that_it_shows(tmp_path: Path, sample: MNISTDataModule) -> None:
    held: list[int] = []

    class Measured(PredictionGrid):
        @override
        def draw(self, trainer: Trainer, title: str) -> Figure:
            held.append(held_bytes(self))
            return super().draw(trainer, title)

    trainer_for(tmp_path, Measured(size=2)).fit(MNISTClassifier(), sample)
    image_bytes = 28 * 28 * 4
    assert len(held) == 2
    assert all(4 * image_bytes < size < 5 * image_bytes for size in held)


def test_supports_a_model_that_returns_only_logits(tmp_path: Path, drawn: list[Drawing]) -> None:
    data = loader(torch.randn(6, 3, 4, 4), torch.tensor([0, 1] * 3))
    grid = PredictionGrid(class_names=["cat", "dog"])
    trainer_for(tmp_path, grid, max_epochs=1).fit(ForeignClassifier(48, classes=2), data, data)
    (drawing,) = drawn
    assert drawing.title.startswith("Validation images: ")
    labels = [text.split("→")[0] for text in drawing.texts[:6]]  # fewer images than cells
    assert labels == ["cat", "dog"] * 3


def test_checks_size() -> None:
    with pytest.raises(InvalidArgumentError, match="size is 0; it must be an integer from 1 to 20"):
        PredictionGrid(size=0)
