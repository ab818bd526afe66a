"""Curves of our model and of others."""

from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch
from events import steps
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from torch import Tensor, nn
from trainers import quiet_trainer

from mnist_lightning import LearningCurves, MNISTClassifier, MNISTDataModule


def trainer_for(folder: Path, callback: LearningCurves, **kwargs: Any) -> Trainer:
    short = {"limit_train_batches": 2, "limit_val_batches": 2, "max_epochs": 2}
    options = short | {"default_root_dir": folder, "callbacks": [callback]} | kwargs
    return quiet_trainer(**options)


class Foreign(LightningModule):
    """In the style of another project: other names, logged in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return {"loss": loss}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_remembers_each_epoch_and_draws(tmp_path: Path, sample: MNISTDataModule) -> None:
    callback = LearningCurves()
    trainer = trainer_for(tmp_path, callback)
    trainer.fit(MNISTClassifier(), sample)
    assert {name: len(values) for name, values in callback.history.items()} == {
        "train/loss": 2,
        "train/acc": 2,
        "val/loss": 2,
        "val/acc": 2,
    }
    for name, values in callback.history.items():
        assert values[-1] == pytest.approx(float(trainer.callback_metrics[name]))
        assert values[0] != values[1]
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (900, 380)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_draws_into_every_tensorboard_with_a_slider_over_epochs(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    loggers = [CSVLogger(tmp_path, "csv"), TensorBoardLogger(tmp_path, "tb")]
    trainer = trainer_for(tmp_path, LearningCurves(), logger=loggers)
    trainer.fit(MNISTClassifier(), sample)
    assert Path(str(loggers[0].log_dir), "curves.png").exists()  # of the first logger
    assert steps(str(loggers[1].log_dir))["learning curves"] == [1, 2]


def test_takes_the_metrics_of_another_project(tmp_path: Path, sample: MNISTDataModule) -> None:
    callback = LearningCurves(loss=("train_loss", "val_loss"), accuracy=("train_acc", "val_acc"))
    trainer_for(tmp_path, callback).fit(Foreign(), sample)
    assert not any(isnan(value) for value in callback.history["train_loss"])
    assert not any(isnan(value) for value in callback.history["val_acc"])
    assert all(isnan(value) for value in callback.history["train_acc"])  # Foreign logs none
    assert (tmp_path / "curves.png").exists()


def test_does_not_repeat_an_old_validation(tmp_path: Path, sample: MNISTDataModule) -> None:
    callback = LearningCurves()
    trainer = trainer_for(tmp_path, callback, check_val_every_n_epoch=2, max_epochs=5)
    trainer.fit(MNISTClassifier(), sample)
    assert [isnan(value) for value in callback.history["val/loss"]] == [True, False] * 2 + [True]
    assert not any(isnan(value) for value in callback.history["train/loss"])


def test_goes_on_after_a_resume(tmp_path: Path, sample: MNISTDataModule) -> None:
    first = LearningCurves()
    trainer = trainer_for(tmp_path, first)
    trainer.fit(MNISTClassifier(), sample)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    second = LearningCurves()
    trainer = trainer_for(tmp_path, second, max_epochs=3)
    trainer.fit(MNISTClassifier(), sample, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    for name, values in second.history.items():
        assert len(values) == 3
        assert values[:2] == first.history[name]


def test_writes_nothing_in_a_trial_run(tmp_path: Path, sample: MNISTDataModule) -> None:
    trainer_for(tmp_path, LearningCurves(), fast_dev_run=True).fit(MNISTClassifier(), sample)
    assert list(tmp_path.iterdir()) == []


def test_title_names_the_data(
    tmp_path: Path, sample: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(
        "mnist_lightning.callbacks.learning_curves.publish",
        lambda trainer, folder, figure, name, tag: titles.append(figure.get_suptitle()),
    )
    trainer_for(tmp_path, LearningCurves(), max_epochs=1).fit(MNISTClassifier(), sample)
    loader = sample.val_dataloader()
    trainer_for(tmp_path, LearningCurves(), max_epochs=1).fit(MNISTClassifier(), loader, loader)
    assert titles == ["Learning curves: MNIST sample", "Learning curves"]
