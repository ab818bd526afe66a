"""Saves the environment of a run."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from typing_extensions import override

from mnist_lightning.figures.publish import is_dry_run
from mnist_lightning.files import write_atomically
from mnist_lightning.runs.environment import FILE_NAME, describe_environment


class SaveEnvironment(Callback):
    """Saves ``environment.json`` at the start of a run, when its loggers are connected.

    Args:
        command: The command line.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._is_saved = False

    def _save(self, trainer: Trainer) -> None:
        folder = trainer.log_dir  # a broadcast, so every process must ask
        if trainer.is_global_zero and not self._is_saved and not is_dry_run(trainer):
            text = json.dumps(describe_environment(trainer, self._command), indent=2)
            write_atomically(Path(folder or "", FILE_NAME), f"{text}\n".encode())
        self._is_saved = True

    @override
    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        self._save(trainer)

    @override
    def on_test_start(self, trainer: Trainer, *args: Any) -> None:
        self._save(trainer)

    @override
    def on_predict_start(self, trainer: Trainer, *args: Any) -> None:
        self._save(trainer)
