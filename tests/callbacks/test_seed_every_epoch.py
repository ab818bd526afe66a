"""The callback SeedEveryEpoch."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule, RandomDistortion, SeedEveryEpoch


class RecordRandomNumbers(Callback):
    """Records a random number of each generator in every step.

    Args:
        num_extra: Random numbers of each generator that are drawn before the first epoch.
    """

    def __init__(self, num_extra: int = 0) -> None:
        self.num_extra = num_extra
        self.numbers: list[tuple[float, float, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for _ in range(self.num_extra):
            self._draw_numbers()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.numbers.append(self._draw_numbers())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "end.ckpt")

    @staticmethod
    def _draw_numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def fit(
    folder: Path,
    epochs: int = 3,
    num_extra: int = 0,
    rank: int = 0,
    ckpt_path: Path | None = None,
) -> tuple[list[tuple[float, float, float]], torch.Tensor]:
    """Trains with dropout, shuffling and distortion; returns random numbers and weights."""
    recorder = RecordRandomNumbers(num_extra)
    torch.manual_seed(7)  # equal initial weights, also without seed_everything
    model = MNISTClassifier(dropout=0.5)
    if ckpt_path is not None:
        torch.manual_seed(8)
    trainer = quiet_trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=0,
        callbacks=[SeedEveryEpoch(), recorder],
    )
    trainer.strategy.global_rank = rank  # type: ignore[attr-defined]
    data = MNISTDataModule(source="sample", augment=RandomDistortion(rotation=10))
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return recorder.numbers, weights


@pytest.fixture(params=["seed_everything", "no seed"])
def _seed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the environment variable of ``seed_everything``, or no seed at all."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    if request.param == "seed_everything":
        monkeypatch.setenv("PL_GLOBAL_SEED", "7")


@pytest.mark.usefixtures("_seed")
def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    uninterrupted, weights = fit(tmp_path / "uninterrupted")
    first, _ = fit(tmp_path / "first", epochs=1)
    checkpoint = tmp_path / "first" / "end.ckpt"
    resumed, resumed_weights = fit(tmp_path / "resumed", num_extra=5, ckpt_path=checkpoint)
    assert first + resumed == uninterrupted
    assert torch.equal(weights, resumed_weights)
    assert len({number for numbers in uninterrupted for number in numbers}) == 3 * 6  # all differ


def test_seeds_and_processes_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    first_steps = []
    for seed, rank in ((1, 0), (2, 0), (1, 1)):
        seed_everything(seed, verbose=False)
        numbers, _ = fit(tmp_path / f"{seed}_{rank}", epochs=1, rank=rank)
        first_steps.append(numbers[0])
    assert len({number for numbers in first_steps for number in numbers}) == 9
    monkeypatch.delenv("PL_GLOBAL_SEED")
