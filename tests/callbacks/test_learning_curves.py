"""The callback LearningCurves."""

from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import Drawing, logged_messages
from events import layouts, steps
from foreign import ForeignClassifier
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning import LearningCurves, MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError


def trainer_for(folder: Path, callback: LearningCurves, **kwargs: Any) -> Trainer:
    short = {"limit_train_batches": 2, "limit_val_batches": 2, "max_epochs": 2}
    options = short | {"default_root_dir": folder, "callbacks": [callback]} | kwargs
    return quiet_trainer(**options)


def test_records_the_metrics_of_each_epoch(tmp_path: Path, sample: MNISTDataModule) -> None:
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


def test_draws_the_recorded_metrics_after_each_epoch(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    callback = LearningCurves()
    trainer_for(tmp_path, callback, max_epochs=3).fit(MNISTClassifier(), sample)
    assert [drawing.epoch for drawing in drawn] == [1, 2, 3]
    assert {drawing.title for drawing in drawn} == {"MNIST sample, learning curves"}
    for drawing in drawn:
        for axes, names in zip(
            drawing.figure.axes, (callback.loss, callback.accuracy), strict=True
        ):
            for line, name in zip(axes.get_lines(), names, strict=False):
                values = np.asarray(line.get_ydata()).tolist()
                assert values == callback.history[name][: drawing.epoch]


def test_tensorboard_shows_both_curves_in_one_chart(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    csv, tensorboard = CSVLogger(tmp_path, "csv"), TensorBoardLogger(tmp_path, "tb")
    callback = LearningCurves(loss=("train/loss", "val.loss"))
    trainer = trainer_for(tmp_path, callback, logger=[csv, tensorboard])
    trainer.fit(MNISTClassifier(), sample)
    assert Path(csv.log_dir, "curves.png").exists()  # the first logger has the run folder
    assert steps(tensorboard.log_dir)["figures/learning curves"] == [1, 2]
    assert layouts(tensorboard.log_dir) == {
        "training and validation": {
            "loss": ["^train/loss$", r"^val\.loss$"],
            "accuracy": ["^train/acc$", "^val/acc$"],
        }
    }


def test_warns_once_about_metrics_that_the_model_does_not_log(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    callback = LearningCurves(loss=("train_loss", "val_loss"), accuracy=("train_acc", "val_acc"))
    trainer_for(tmp_path, callback).fit(ForeignClassifier(), sample)
    assert not any(isnan(value) for value in callback.history["train_loss"])
    assert not any(isnan(value) for value in callback.history["val_acc"])
    assert all(isnan(value) for value in callback.history["train_acc"])
    assert (tmp_path / "curves.png").exists()
    assert logged_messages(caplog) == [  # once in two epochs
        "LearningCurves does not show train_acc, which the model does not log; it logs train_loss, "
        "train_loss_epoch, train_loss_step, val_acc, val_loss. Choose the names with "
        "LearningCurves(loss=..., accuracy=...)"
    ]


def test_does_not_warn_in_a_fit_without_validation(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    callback = LearningCurves()
    trainer_for(tmp_path, callback, limit_val_batches=0).fit(MNISTClassifier(), sample)
    assert all(isnan(value) for value in callback.history["val/loss"])
    assert logged_messages(caplog) == []


def test_does_not_repeat_an_earlier_validation(tmp_path: Path, sample: MNISTDataModule) -> None:
    callback = LearningCurves()
    trainer = trainer_for(tmp_path, callback, check_val_every_n_epoch=2, max_epochs=5)
    trainer.fit(MNISTClassifier(), sample)
    assert [isnan(value) for value in callback.history["val/loss"]] == [True, False] * 2 + [True]
    assert not any(isnan(value) for value in callback.history["train/loss"])


def test_resumed_run_has_the_values_of_earlier_epochs(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
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


def test_an_epoch_that_is_resumed_after_its_last_step_logs_nothing(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "step_2.ckpt"

    class SaveBeforeValidation(Callback):
        @override
        def on_validation_start(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 2:
                trainer.save_checkpoint(path)

    first, resumed = LearningCurves(), LearningCurves()
    trainer = trainer_for(tmp_path, first, callbacks=[first, SaveBeforeValidation()])
    trainer.fit(MNISTClassifier(), sample)
    trainer = trainer_for(tmp_path, resumed)
    caplog.clear()
    trainer.fit(MNISTClassifier(), sample, ckpt_path=path, weights_only=True)
    assert trainer.current_epoch == 2
    assert [isnan(value) for value in resumed.history["train/loss"]] == [True, False]
    assert logged_messages(caplog) == []


def test_state_key_is_that_of_earlier_checkpoints() -> None:
    assert LearningCurves().state_key == (
        "LearningCurves{'loss': ('train/loss', 'val/loss'), 'accuracy': ('train/acc', 'val/acc')}"
    )


def test_resumes_from_a_checkpoint_with_more_or_fewer_values_than_epochs(
    tmp_path: Path, sample: MNISTDataModule
) -> None:
    callback = LearningCurves()
    trainer = trainer_for(tmp_path, callback)
    trainer.fit(MNISTClassifier(), sample)
    two_epochs = callback.history["val/loss"][:2]

    for extra_value in (0.5, None):
        for values in callback.history.values():
            values[:] = [*values, extra_value] if extra_value else []
        trainer.save_checkpoint(tmp_path / "two.ckpt")
        resumed = LearningCurves()
        trainer_for(tmp_path, resumed, max_epochs=3).fit(
            MNISTClassifier(), sample, ckpt_path=tmp_path / "two.ckpt", weights_only=True
        )
        values = resumed.history["val/loss"]
        assert len(values) == 3
        assert not isnan(values[2])
        assert values[2] != 0.5
        if extra_value:
            assert values[:2] == two_epochs
        else:
            assert all(isnan(value) for value in values[:2])


@pytest.mark.parametrize("names", ["train_loss", ("train_loss",), ()])
def test_rejects_anything_but_pairs_of_names(names: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="it must be two names"):
        LearningCurves(loss=names)


def test_a_trainer_supports_two_of_them(tmp_path: Path, sample: MNISTDataModule) -> None:
    second = LearningCurves(loss=("a", "b"), accuracy=("c", "d"))
    trainer = trainer_for(tmp_path, second, callbacks=[LearningCurves(), second])
    trainer.fit(MNISTClassifier(), sample)
    trainer.save_checkpoint(tmp_path / "both.ckpt")


def test_writes_nothing_in_a_dry_run(tmp_path: Path, sample: MNISTDataModule) -> None:
    trainer_for(tmp_path, LearningCurves(), fast_dev_run=True).fit(MNISTClassifier(), sample)
    assert list(tmp_path.iterdir()) == []


def test_has_a_title_without_a_data_module(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    loader = sample.val_dataloader()
    trainer_for(tmp_path, LearningCurves(), max_epochs=1).fit(MNISTClassifier(), loader, loader)
    assert [drawing.title for drawing in drawn] == ["Learning curves"]
