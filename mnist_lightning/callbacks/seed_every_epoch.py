"""Random numbers that do not depend on what happened before."""

import os
import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

GIVEN_SEED = "PL_GLOBAL_SEED"  # where seed_everything leaves it


class SeedEveryEpoch(Callback):
    """Makes all that an epoch draws at random a function of seed, epoch and process.

    A run that was broken off and goes on from the end of an epoch then shuffles, drops and distorts
    as if it had never stopped. The seed is that of ``seed_everything``; where that was not called,
    PyTorch's own, which checkpoints then hold. Loaders with workers draw before an epoch begins:
    give them a sampler with ``set_epoch``.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> seeds = SeedEveryEpoch()
        >>> trainer = Trainer(callbacks=[seeds], logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._seed = 0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._seed = int(os.environ.get(GIVEN_SEED) or torch.initial_seed())

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        words = np.random.SeedSequence((self._seed, trainer.current_epoch, trainer.global_rank))
        one, other, third = words.generate_state(3)
        random.seed(int(one))
        np.random.seed(other)  # noqa: NPY002 - what others draw from it counts as well
        torch.manual_seed(int(third))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"seed": self._seed}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not os.environ.get(GIVEN_SEED):
            self._seed = state_dict["seed"]
