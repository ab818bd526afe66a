"""Grids of our model and of others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import Drawing
from foreign import Foreign, loader
from lightning.pytorch import Trainer
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule, PredictionGrid
from mnist_lightning.errors import InvalidArgumentError


def trainer_for(folder: Path, callback: PredictionGrid, **kwargs: Any) -> Trainer:
    short = {"limit_train_batches": 1, "max_epochs": 2}
    options = short | {"default_root_dir": folder, "callbacks": [callback]} | kwargs
    return quiet_trainer(**options)


def test_shows_validation_images_each_epoch_and_test_images_after_the_test(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    model = MNISTClassifier()
    trainer = trainer_for(tmp_path, PredictionGrid())
    trainer.fit(model, sample)
    trainer.test(model, sample, verbose=False)
    assert [(one.name, one.tag, one.epoch) for one in drawn] == [
        ("predictions", "predictions, validation", 1),
        ("predictions", "predictions, validation", 2),
        ("predictions", "predictions, test", 2),
    ]
    titles = [one.title.split(":")[0] for one in drawn]
    assert titles == ["MNIST sample, validation images"] * 2 + ["MNIST sample, test images"]

    for dataset, one in zip((sample.val_set, sample.test_set), drawn[1:], strict=True):
        images, labels = dataset.batch(torch.arange(25))
        probabilities = model.eval().predict_step(images)
        confidence, predicted = probabilities.max(dim=1)
        for index in range(25):
            wrong = labels[index] != predicted[index]
            expected = f"{labels[index]}→{predicted[index]}  {confidence[index]:.0%}"
            assert one.texts[index] == expected + " ✗" * bool(wrong)


def test_keeps_no_more_images_than_it_draws(
    tmp_path: Path, sample: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = PredictionGrid(size=2)
    kept: list[int] = []
    draw = callback.figure

    def counted(*args: Any) -> Any:
        storages = [one[0].untyped_storage().nbytes() for one in callback._kept]
        kept.append(sum(storages) // 784 // 4)
        return draw(*args)

    monkeypatch.setattr(callback, "figure", counted)
    trainer_for(tmp_path, callback).fit(MNISTClassifier(), sample)
    assert kept == [4, 4]


def test_takes_a_model_that_only_gives_logits(tmp_path: Path, drawn: list[Drawing]) -> None:
    data = loader(torch.randn(6, 3, 4, 4), torch.tensor([0, 1] * 3))
    grid = PredictionGrid(class_names=["cat", "dog"])
    trainer_for(tmp_path, grid, max_epochs=1).fit(Foreign(48, classes=2), data, data)
    (one,) = drawn
    assert one.title.startswith("Validation images: ")
    names = [text.split("→")[0] for text in one.texts[:6]]  # fewer images than cells
    assert names == ["cat", "dog"] * 3


def test_size_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="size is 0; it must be an integer from 1 to 20"):
        PredictionGrid(size=0)
