"""Curves of our model and of others."""

from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import Drawing, said
from events import layouts, steps
from foreign import Foreign
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from trainers import quiet_trainer

from mnist_lightning import LearningCurves, MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError


def trainer_for(folder: Path, callback: LearningCurves, **kwargs: Any) -> Trainer:
    short = {"limit_train_batches": 2, "limit_val_batches": 2, "max_epochs": 2}
    options = short | {"default_root_dir": folder, "callbacks": [callback]} | kwargs
    return quiet_trainer(**options)


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
        assert values[0] != values[1] or name.endswith("acc")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (648, 648)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_draws_what_was_measured(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    callback = LearningCurves()
    trainer_for(tmp_path, callback, max_epochs=3).fit(MNISTClassifier(), sample)
    assert [drawing.epoch for drawing in drawn] == [1, 2, 3]
    assert {drawing.title for drawing in drawn} == {"MNIST sample, learning curves"}
    for drawing in drawn:
        loss, accuracy = drawing.figure.axes
        for axes, pair in ((loss, callback.loss), (accuracy, callback.accuracy)):
            for line, name in zip(axes.get_lines(), pair, strict=False):
                measured = np.asarray(line.get_ydata()).tolist()
                assert measured == callback.history[name][: drawing.epoch]


def test_has_one_chart_for_both_curves_in_every_tensorboard(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    loggers = [CSVLogger(tmp_path, "csv"), TensorBoardLogger(tmp_path, "tb")]
    callback = LearningCurves(loss=("train/loss", "val.loss"))
    trainer = trainer_for(tmp_path, callback, logger=loggers)
    trainer.fit(MNISTClassifier(), sample)
    assert Path(str(loggers[0].log_dir), "curves.png").exists()  # of the first logger
    assert steps(str(loggers[1].log_dir))["figures/learning curves"] == [1, 2]
    assert layouts(str(loggers[1].log_dir)) == {
        "training and validation": {
            "loss": ["^train/loss$", r"^val\.loss$"],
            "accuracy": ["^train/acc$", "^val/acc$"],
        }
    }


def test_takes_the_metrics_of_another_project_and_says_what_is_missing(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    callback = LearningCurves(loss=("train_loss", "val_loss"), accuracy=("train_acc", "val_acc"))
    trainer_for(tmp_path, callback).fit(Foreign(), sample)
    assert not any(isnan(value) for value in callback.history["train_loss"])
    assert not any(isnan(value) for value in callback.history["val_acc"])
    assert all(isnan(value) for value in callback.history["train_acc"])  # Foreign logs none
    assert (tmp_path / "curves.png").exists()
    assert said(caplog) == [  # once, in two epochs
        "LearningCurves leaves out train_acc: the model logs train_loss, train_loss_epoch, "
        "train_loss_step, val_acc, val_loss; say its names with LearningCurves(loss=..., "
        "accuracy=...)"
    ]


def test_a_fit_without_validation_lacks_nothing(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    callback = LearningCurves()
    trainer_for(tmp_path, callback, limit_val_batches=0).fit(MNISTClassifier(), sample)
    assert all(isnan(value) for value in callback.history["val/loss"])
    assert said(caplog) == []


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


def test_state_key_matches_earlier_checkpoints() -> None:
    assert LearningCurves().state_key == (
        "LearningCurves{'loss': ('train/loss', 'val/loss'), 'accuracy': ('train/acc', 'val/acc')}"
    )


def test_epochs_are_right_where_a_checkpoint_knows_more_or_less(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    callback = LearningCurves()
    trainer = trainer_for(tmp_path, callback)
    trainer.fit(MNISTClassifier(), sample)
    kept = callback.history["val/loss"][:2]

    for extra in (0.5, None):
        for values in callback.history.values():
            values[:] = [*values, extra] if extra else []
        trainer.save_checkpoint(tmp_path / "two.ckpt")
        other = LearningCurves()
        trainer_for(tmp_path, other, max_epochs=3).fit(
            MNISTClassifier(), sample, ckpt_path=tmp_path / "two.ckpt", weights_only=True
        )
        values = other.history["val/loss"]
        assert len(values) == 3
        assert not isnan(values[2])
        assert values[2] != 0.5
        assert values[:2] == kept if extra else all(isnan(value) for value in values[:2])


@pytest.mark.parametrize("pair", ["train_loss", ("train_loss",), ()])
def test_names_come_in_pairs(pair: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="it must be two names"):
        LearningCurves(loss=pair)


def test_two_may_stand_in_one_trainer(tmp_path: Path, sample: MNISTDataModule) -> None:
    other = LearningCurves(loss=("a", "b"), accuracy=("c", "d"))
    trainer = trainer_for(tmp_path, other, callbacks=[LearningCurves(), other])
    trainer.fit(MNISTClassifier(), sample)
    trainer.save_checkpoint(tmp_path / "both.ckpt")


def test_writes_nothing_in_a_trial_run(tmp_path: Path, sample: MNISTDataModule) -> None:
    trainer_for(tmp_path, LearningCurves(), fast_dev_run=True).fit(MNISTClassifier(), sample)
    assert list(tmp_path.iterdir()) == []


def test_title_needs_no_data_module(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    loader = sample.val_dataloader()
    trainer_for(tmp_path, LearningCurves(), max_epochs=1).fit(MNISTClassifier(), loader, loader)
    assert [drawing.title for drawing in drawn] == ["Learning curves"]
