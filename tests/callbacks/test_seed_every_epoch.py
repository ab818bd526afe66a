"""What an epoch draws, and that it draws the same again."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier, MNISTDataModule, RandomDistortion, SeedEveryEpoch


class Draws(Callback):
    """Notes what each epoch draws, and draws as much before it as a test likes."""

    def __init__(self, wasted: int = 0) -> None:
        self.wasted = wasted
        self.drawn: list[tuple[float, float, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for _ in range(self.wasted):
            self._draw()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.drawn.append(self._draw())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "end.ckpt")

    @staticmethod
    def _draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def fit(
    folder: Path,
    epochs: int = 3,
    wasted: int = 0,
    rank: int = 0,
    ckpt_path: Path | None = None,
) -> tuple[Draws, torch.Tensor]:
    """Trains with dropout, shuffling and distortion; returns what was drawn and the weights."""
    draws = Draws(wasted)
    torch.manual_seed(7)  # the same start; seeds that nobody gave are another matter
    model = MNISTClassifier(dropout=0.5)
    if ckpt_path is not None:
        torch.manual_seed(8)
    trainer = quiet_trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=0,
        callbacks=[SeedEveryEpoch(), draws],
    )
    trainer.strategy.global_rank = rank  # type: ignore[attr-defined]
    data = MNISTDataModule(source="sample", augment=RandomDistortion(rotation=10))
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return draws, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(params=["seed_everything", "no seed"])
def _seed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed as a user gives it, or none: both are told by the environment, as Lightning does."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    if request.param == "seed_everything":
        monkeypatch.setenv("PL_GLOBAL_SEED", "7")


@pytest.mark.usefixtures("_seed")
def test_a_run_that_goes_on_ends_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole, weights = fit(tmp_path / "whole")
    first, _ = fit(tmp_path / "first", epochs=1)
    end = tmp_path / "first" / "end.ckpt"
    rest, same_weights = fit(tmp_path / "rest", wasted=5, ckpt_path=end)
    assert first.drawn + rest.drawn == whole.drawn
    assert torch.equal(weights, same_weights)
    assert len({number for numbers in whole.drawn for number in numbers}) == 3 * 6  # all differ


def test_seeds_and_processes_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    drawn = []
    for seed, rank in ((1, 0), (2, 0), (1, 1)):
        seed_everything(seed, verbose=False)
        drawn.append(fit(tmp_path / f"{seed}_{rank}", epochs=1, rank=rank)[0].drawn[0])
    assert len({number for numbers in drawn for number in numbers}) == 9
    monkeypatch.delenv("PL_GLOBAL_SEED")
