"""What the network is shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import Drawing, said
from foreign import Foreign, loader
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule, TrainingImages
from mnist_lightning.errors import InvalidArgumentError


class Augmented(MNISTDataModule):
    """Turns training images upside down, on the device."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        images, labels = batch
        return images.flip(2), labels


def mosaic(drawing: Drawing) -> np.ndarray:
    return np.asarray(drawing.figure.axes[0].images[0].get_array())


def test_shows_images_as_they_are_after_augmentation(
    tmp_path: Path, drawn: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    step = MNISTClassifier.training_step

    def spying(self: MNISTClassifier, batch: Any) -> Any:
        seen.append(batch[0].clone())
        return step(self, batch)

    monkeypatch.setattr(MNISTClassifier, "training_step", spying)
    for data in (MNISTDataModule(source="sample"), Augmented(source="sample", batch_size=10)):
        seen.clear()
        quiet_trainer(
            default_root_dir=tmp_path,
            callbacks=[TrainingImages()],
            limit_train_batches=4,
            limit_val_batches=0,
            max_epochs=2,
        ).fit(MNISTClassifier(), data)
        one = drawn.pop()
        assert not drawn  # once in a fit, not in each epoch
        assert (one.name, one.tag, one.epoch) == ("training_images", "training images", 1)
        assert one.title == "MNIST sample, training images as the network sees them"
        first = torch.cat(seen)[:25]
        for index in (0, 6, 24):
            frame = one.figure.axes[0].collections[0].get_paths()[index].get_extents()
            x, y = round(frame.x0 + 0.5), round(frame.y0 + 0.5)
            cell = mosaic(one)[y : y + 28, x : x + 28, 0]
            assert np.abs(255 * (1 - first[index, 0].numpy()) - cell).max() <= 1


def test_a_step_may_change_its_images(tmp_path: Path, drawn: list[Drawing]) -> None:
    class Wiping(Foreign):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            batch[0].zero_()
            return super().training_step(batch, batch_idx)

    data = loader(torch.ones(6, 1, 28, 28), torch.arange(6))
    quiet_trainer(default_root_dir=tmp_path, callbacks=[TrainingImages()], max_epochs=1).fit(
        Wiping(), data, data
    )
    assert (mosaic(drawn[0]) == 0).sum() == 6 * 28 * 28 * 3  # ink


def test_captions_are_the_labels(tmp_path: Path, drawn: list[Drawing]) -> None:
    data = loader(torch.randn(6, 3, 4, 4), torch.tensor([0, 1] * 3))
    quiet_trainer(
        default_root_dir=tmp_path,
        callbacks=[TrainingImages(class_names=["cat", "dog"], size=2)],
        max_epochs=1,
    ).fit(Foreign(48, classes=2), data, data)
    assert drawn[0].texts[:4] == ["cat", "dog"] * 2
    assert drawn[0].title == "Training images as the network sees them"


def test_says_what_it_lacks(
    tmp_path: Path, drawn: list[Drawing], caplog: pytest.LogCaptureFixture
) -> None:
    data = loader(torch.randn(6, 48), torch.tensor([0, 1] * 3))
    quiet_trainer(default_root_dir=tmp_path, callbacks=[TrainingImages()], max_epochs=2).fit(
        Foreign(48, classes=2), data, data
    )
    assert drawn == []
    assert said(caplog) == [  # once, in two epochs
        "TrainingImages draws nothing: it needs images of shape (N, 1 or 3, H, W), not (4, 48)"
    ]


def test_size_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="size is 0; it must be an integer from 1 to 20"):
        TrainingImages(size=0)
