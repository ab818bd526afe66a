"""Grids of our model and of others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from events import steps
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule, PredictionGrid
from mnist_lightning.errors import InvalidArgumentError


def trainer_for(folder: Path, callback: PredictionGrid, **kwargs: Any) -> Trainer:
    short = {"limit_train_batches": 1, "max_epochs": 2}
    options = short | {"default_root_dir": folder, "callbacks": [callback]} | kwargs
    return quiet_trainer(**options)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Figure]]:
    """The figures, each with its tag, instead of files."""
    figures: list[tuple[str, Figure]] = []
    monkeypatch.setattr(
        "mnist_lightning.callbacks.prediction_grid.publish",
        lambda trainer, folder, figure, name, tag: figures.append((tag, figure)),
    )
    return figures


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_shows_validation_images_each_epoch_and_test_images_after_the_test(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[tuple[str, Figure]]
) -> None:
    model = MNISTClassifier()
    trainer = trainer_for(tmp_path, PredictionGrid())
    trainer.fit(model, sample)
    trainer.test(model, sample, verbose=False)
    assert [tag for tag, _ in drawn] == ["predictions/validation"] * 2 + ["predictions/test"]
    titles = [figure.get_suptitle().split(":")[0] for _, figure in drawn]
    assert titles == ["MNIST sample, validation images"] * 2 + ["MNIST sample, test images"]

    for dataset, (_, figure) in zip((sample.val_set, sample.test_set), drawn[1:], strict=True):
        images, labels = dataset.__getitems__(list(range(25)))
        probabilities = model.eval().predict_step(images)
        confidence, predicted = probabilities.max(dim=1)
        for index, text in enumerate(texts(figure)):
            expected = f"true {labels[index]}\npred {predicted[index]}  {confidence[index]:.0%}"
            assert text.removesuffix(" ✗") == expected
            assert text.endswith("✗") == (labels[index] != predicted[index])


def test_writes_a_picture_and_shows_it_in_tensorboard(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    trainer = trainer_for(tmp_path, PredictionGrid(), logger=logger)
    model = MNISTClassifier()
    trainer.fit(model, sample)
    picture = Path(logger.log_dir, "predictions.png")
    before = picture.read_bytes()
    trainer.test(model, sample, verbose=False)
    assert picture.read_bytes() != before  # now the test images
    assert len(before) < 300_000
    with Image.open(picture) as image:
        assert image.size[0] >= 500
    found = steps(logger.log_dir)
    assert found["predictions/validation"] == [1, 2]
    assert found["predictions/test"] == [2]


def test_keeps_no_more_images_than_it_draws(
    tmp_path: Path, sample: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = PredictionGrid(size=2)
    kept: list[int] = []
    draw = callback._draw

    def counted(*args: Any) -> None:
        kept.append(sum(one.untyped_storage().nbytes() for one in callback._images) // 784 // 4)
        draw(*args)

    monkeypatch.setattr(callback, "_draw", counted)
    trainer_for(tmp_path, callback).fit(MNISTClassifier(), sample)
    assert kept == [4] * 3  # the sanity check and two epochs
    assert callback._images == []


def test_takes_a_model_that_only_gives_logits(
    tmp_path: Path, drawn: list[tuple[str, Figure]]
) -> None:
    class Foreign(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3 * 4 * 4, 2)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.layer(images.flatten(1))
            return logits

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    images, labels = torch.randn(6, 3, 4, 4), torch.tensor([0, 1] * 3)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), batch_size=4
    )
    grid = PredictionGrid(class_names=["cat", "dog"])
    trainer_for(tmp_path, grid, max_epochs=1).fit(Foreign(), loader, loader)
    ((_, figure),) = drawn
    assert figure.get_suptitle().startswith("validation images: ")
    assert len(texts(figure)) == 6  # fewer images than cells
    assert [text.split()[1] for text in texts(figure)] == ["cat", "dog"] * 3


def test_size_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="size is 0; it must be at least 1"):
        PredictionGrid(size=0)


def test_writes_nothing_in_a_trial_run(tmp_path: Path, sample: MNISTDataModule) -> None:
    trainer_for(tmp_path, PredictionGrid(), fast_dev_run=True).fit(MNISTClassifier(), sample)
    assert list(tmp_path.iterdir()) == []
