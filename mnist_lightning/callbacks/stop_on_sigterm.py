"""Makes SIGTERM stop a run immediately."""

import signal
import threading
from types import FrameType
from typing import NoReturn

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override


class TerminalClosedException(SIGTERMException):
    """SIGHUP was received."""


def raise_on_signal(signum: int, frame: FrameType | None) -> NoReturn:
    """Handles SIGTERM or SIGHUP by an exception, and ignores the same signal from then on."""
    signal.signal(signum, signal.SIG_IGN)
    raise SIGTERMException if signum == signal.SIGTERM else TerminalClosedException


class StopOnSigterm(Callback):
    """Makes SIGTERM stop the run immediately, like Ctrl-C, instead of after the current step.

    Lightning installs a handler that, with several processes, waits for a broadcast that may never
    complete. This callback replaces it as soon as it is installed.
    """

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, raise_on_signal)

    on_validation_start = on_test_start = on_predict_start = on_train_start
