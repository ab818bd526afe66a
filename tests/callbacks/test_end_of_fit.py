"""Drawing at the end of a fit that is interrupted."""

from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.callbacks.end_of_fit import EndOfFitCallback


class CountEnds(EndOfFitCallback):
    """Counts the calls of ``on_train_end``."""

    def __init__(self) -> None:
        self.num_ends = 0

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.num_ends += 1


class Raise(Callback):
    """Raises an exception in the first step of a stage."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception

    def on_train_batch_end(self, *args: Any) -> None:
        raise self.exception

    def on_test_batch_end(self, *args: Any) -> None:
        raise self.exception


@pytest.mark.parametrize(
    ("exception", "num_ends"),
    [(KeyboardInterrupt(), 1), (SIGTERMException(), 1), (RuntimeError(), 0)],
)
def test_draws_when_interrupted_but_not_after_an_error(
    sample: MNISTDataModule, exception: BaseException, num_ends: int
) -> None:
    ends = CountEnds()
    trainer = quiet_trainer(callbacks=[ends, Raise(exception)], max_epochs=1)
    with pytest.raises((SystemExit, SIGTERMException, RuntimeError)):
        trainer.fit(MNISTClassifier(), sample)
    assert ends.num_ends == num_ends


def test_draws_once_after_a_complete_fit(sample: MNISTDataModule) -> None:
    ends = CountEnds()
    trainer = quiet_trainer(callbacks=[ends], max_epochs=1, limit_train_batches=1)
    trainer.fit(MNISTClassifier(), sample)
    assert ends.num_ends == 1


def test_does_not_draw_when_a_test_is_interrupted(sample: MNISTDataModule) -> None:
    ends = CountEnds()
    trainer = quiet_trainer(callbacks=[ends, Raise(KeyboardInterrupt())])
    with pytest.raises(SystemExit):
        trainer.test(MNISTClassifier(), sample, verbose=False)
    assert ends.num_ends == 0
