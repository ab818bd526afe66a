"""Ends a fit after its first training step and says when that was."""

import os
import time
from typing import Any

from lightning.pytorch import Callback


class FirstStep(Callback):
    """For ``--trainer.callbacks+=first_step.FirstStep``."""

    def on_train_batch_end(self, *args: Any) -> None:
        print(time.monotonic(), flush=True)
        os._exit(0)
