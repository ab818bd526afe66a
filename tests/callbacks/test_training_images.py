"""The callback TrainingImages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import Drawing, frames, logged_messages, mosaic
from foreign import ForeignClassifier, loader
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule, TrainingImages
from mnist_lightning.errors import InvalidArgumentError


class UpsideDown(MNISTDataModule):
    """Augments training images on the device: turns them upside down."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        images, labels = batch
        return images.flip(2), labels


def test_shows_images_after_augmentation(
    tmp_path: Path, drawn: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[torch.Tensor] = []
    training_step = MNISTClassifier.training_step

    def record(self: MNISTClassifier, batch: Any) -> Any:
        batches.append(batch[0].clone())
        return training_step(self, batch)

    monkeypatch.setattr(MNISTClassifier, "training_step", record)
    for data in (MNISTDataModule(source="sample"), UpsideDown(source="sample", batch_size=10)):
        batches.clear()
        quiet_trainer(
            default_root_dir=tmp_path,
            callbacks=[TrainingImages()],
            limit_train_batches=4,
            limit_val_batches=0,
            max_epochs=2,
        ).fit(MNISTClassifier(), data)
        drawing = drawn.pop()
        assert not drawn  # once per fit, not once per epoch
        assert (drawing.name, drawing.tag, drawing.epoch) == (
            "training_images",
            "training images",
            1,
        )
        assert drawing.title == "MNIST sample, training images as the network sees them"
        images = torch.cat(batches)[:25]
        for index in (0, 6, 24):
            frame = frames(drawing.figure)[index]
            x, y = round(frame.x0 + 0.5), round(frame.y0 + 0.5)
            cell = mosaic(drawing.figure)[y : y + 28, x : x + 28, 0]
            assert np.abs(255 * (1 - images[index, 0].numpy()) - cell).max() <= 1


def test_shows_images_as_they_were_before_the_step(tmp_path: Path, drawn: list[Drawing]) -> None:
    class ClearImages(ForeignClassifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            batch[0].zero_()
            return super().training_step(batch, batch_idx)

    data = loader(torch.ones(6, 1, 28, 28), torch.arange(6))
    quiet_trainer(default_root_dir=tmp_path, callbacks=[TrainingImages()], max_epochs=1).fit(
        ClearImages(), data, data
    )
    assert (mosaic(drawn[0].figure) == 0).sum() == 6 * 28 * 28 * 3  # black ink


def test_captions_are_the_labels(tmp_path: Path, drawn: list[Drawing]) -> None:
    data = loader(torch.randn(6, 3, 4, 4), torch.tensor([0, 1] * 3))
    quiet_trainer(
        default_root_dir=tmp_path,
        callbacks=[TrainingImages(class_names=["cat", "dog"], size=2)],
        max_epochs=1,
    ).fit(ForeignClassifier(48, classes=2), data, data)
    assert drawn[0].texts[:4] == ["cat", "dog"] * 2
    assert drawn[0].title == "Training images as the network sees them"


def test_warns_about_inputs_that_are_not_images(
    tmp_path: Path, drawn: list[Drawing], caplog: pytest.LogCaptureFixture
) -> None:
    data = loader(torch.randn(6, 48), torch.tensor([0, 1] * 3))
    quiet_trainer(default_root_dir=tmp_path, callbacks=[TrainingImages()], max_epochs=2).fit(
        ForeignClassifier(48, classes=2), data, data
    )
    assert drawn == []
    assert logged_messages(caplog) == [  # once in two epochs
        "TrainingImages is disabled: it requires images of shape (N, 1 or 3, H, W), not (4, 48)"
    ]


def test_checks_size() -> None:
    with pytest.raises(InvalidArgumentError, match="size is 0; it must be an integer from 1 to 20"):
        TrainingImages(size=0)
