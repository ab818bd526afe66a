"""Commands that run in several processes."""

import re
import signal
from typing import Any

from lightning.pytorch import Trainer
from torch import distributed

from mnist_lightning.errors import InvalidArgumentError


def check_strategy(strategy: Any) -> None:
    """Checks that each process executes the command line, instead of being a copy of this one.

    Raises:
        InvalidArgumentError: If the processes would be spawned or forked.
    """
    if re.search("spawn|fork|notebook", str(strategy)):
        raise InvalidArgumentError(
            "--trainer.strategy", strategy, "each process must execute the command line; use ddp"
        )


def kill_child_processes(trainer: Trainer | None) -> None:
    """Kills the processes that Lightning started; they might wait for this one forever."""
    launcher = trainer and trainer.strategy.launcher
    if launcher:
        launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has no SIGKILL


def leave_process_group() -> None:
    """Ends the communication between processes; without it, Python sometimes aborts at exit."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def is_connection_lost(error: BaseException) -> bool:
    """Returns whether an error means that the processes of a run cannot reach each other."""
    if not distributed.is_available():
        return False
    is_from_gloo = re.search(r"[/\\]gloo[/\\]", str(error)) is not None
    return isinstance(error, distributed.DistError) or is_from_gloo
