"""Times ``python -m mnist_lightning fit`` with its default logger, checkpoints and figures."""

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from contender import parse_arguments, peak_memory, print_result
from lightning.pytorch import Trainer

import mnist_lightning.cli  # noqa: F401 - belongs to the memory of the imports

IMPORT_MEMORY = peak_memory()
seconds = 0.0
original_fit = Trainer.fit


def timed_fit(trainer: Trainer, *args: Any, **kwargs: Any) -> None:
    """Runs ``Trainer.fit`` and records its duration."""
    global seconds
    begin = time.perf_counter()
    original_fit(trainer, *args, **kwargs)
    seconds = time.perf_counter() - begin


if __name__ == "__main__":
    options = parse_arguments()
    Trainer.fit = timed_fit  # type: ignore[assignment, method-assign]
    recipe = [f"--trainer.max_epochs={options.epochs}", f"--data.batch_size={options.batch_size}"]
    data = ["--data.source=mnist", f"--data.data_dir={options.data_dir}"]
    seed = f"--seed_everything={options.seed}"
    sys.argv[1:] = ["fit", *data, seed, *(options.rest or recipe)]
    runpy.run_module("mnist_lightning", run_name="__main__")
    (results,) = Path("lightning_logs").glob("*/results.json")
    print_result(seconds, json.loads(results.read_text())["test/acc"], IMPORT_MEMORY)
