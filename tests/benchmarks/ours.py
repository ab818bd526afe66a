"""This package as a user runs it: logger, checkpoints, progress, figures, validation."""

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from contender import arguments, peak_memory, report
from lightning.pytorch import Trainer

import mnist_lightning.cli  # noqa: F401 - memory counts from here

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
    data = ["--data.source=mnist", f"--data.data_dir={options.data_dir}"]
    seed = f"--seed_everything={options.seed}"
    sys.argv[1:] = ["fit", *data, seed, *(options.rest or recipe)]
    runpy.run_module("mnist_lightning", run_name="__main__")
    (results,) = Path("lightning_logs").glob("*/results.json")
    report(seconds, json.loads(results.read_text())["test/acc"], IMPORTS)
