"""Random numbers that depend only on seed, epoch and process."""

import os
import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

SEED_VARIABLE = "PL_GLOBAL_SEED"  # set by seed_everything


class SeedEveryEpoch(Callback):
    """Makes the random numbers of an epoch a function of seed, epoch and process.

    Seeds Python, NumPy and PyTorch at the start of each epoch. A fit that is resumed from the end
    of an epoch then uses the same shuffling, dropout and augmentation as a fit that was never
    interrupted. The seed is that of ``seed_everything``, or else PyTorch's initial seed, which is
    saved in checkpoints.

    Loaders with workers draw random numbers before an epoch starts, so they require a sampler with
    ``set_epoch``.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> seeds = SeedEveryEpoch()
        >>> trainer = Trainer(callbacks=[seeds], logger=False, enable_checkpointing=False)
    """

    def __init__(self) -> None:
        self._seed = 0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._seed = int(os.environ.get(SEED_VARIABLE) or torch.initial_seed())

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sequence = np.random.SeedSequence((self._seed, trainer.current_epoch, trainer.global_rank))
        python_seed, numpy_seed, torch_seed = sequence.generate_state(3)
        random.seed(int(python_seed))
        np.random.seed(numpy_seed)  # noqa: NPY002 - for third-party code that uses the global state
        torch.manual_seed(int(torch_seed))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"seed": self._seed}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not os.environ.get(SEED_VARIABLE):
            self._seed = state_dict["seed"]
