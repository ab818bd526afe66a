"""Makes SIGTERM stop a run immediately."""

import signal
import threading
from types import FrameType
from typing import NoReturn

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override


def raise_on_sigterm(signum: int, frame: FrameType | None) -> NoReturn:
    """Handles SIGTERM by an exception, and ignores further SIGTERMs while that is handled."""
    signal.signal(signum, signal.SIG_IGN)
    raise SIGTERMException


class StopOnSigterm(Callback):
    """Makes SIGTERM stop the run immediately, like Ctrl-C, instead of after the current step.

    Lightning installs a handler that, with several processes, waits for a broadcast that may never
    complete. This callback replaces it as soon as it is installed.
    """

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, raise_on_sigterm)

    on_validation_start = on_test_start = on_predict_start = on_train_start
