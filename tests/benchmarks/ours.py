"""This package as a user runs it: logger, checkpoints, progress, figures, validation."""

import time
from typing import Any

import torchmetrics  # noqa: F401 - memory counts from here
from contender import arguments, peak_memory, report
from lightning.pytorch import Trainer

import mnist_lightning.cli

IMPORTS = peak_memory()
seconds = 0.0
original = Trainer.fit


def timed(trainer: Trainer, *args: Any, **kwargs: Any) -> None:
    """Fits and keeps how long it took."""
    global seconds
    begin = time.perf_counter()
    original(trainer, *args, **kwargs)
    seconds = time.perf_counter() - begin


if __name__ == "__main__":
    options = arguments()
    Trainer.fit = timed  # type: ignore[assignment, method-assign]
    recipe = [f"--trainer.max_epochs={options.epochs}", f"--data.batch_size={options.batch_size}"]
    cli = mnist_lightning.cli.main(
        [
            "fit",
            "--data.source=mnist",
            f"--data.data_dir={options.data_dir}",
            f"--seed_everything={options.seed}",
            *(options.rest or recipe),
        ]
    )
    report(seconds, float(cli.trainer.callback_metrics["test/acc"]), IMPORTS)
