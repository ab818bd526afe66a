"""Errors as one sentence, signals as exceptions, and logs without noise."""

import errno
import logging
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override

from mnist_lightning.callbacks.stop_on_sigterm import TerminalClosedException, raise_on_signal
from mnist_lightning.cli.processes import is_connection_lost
from mnist_lightning.errors import UserError

LOGGER_PACKAGES = ("comet_ml", "litlogger", "mlflow", "wandb")
LIBRARIES = {"lightning.": "Lightning", "torch.optim.": "torch.optim"}
QUIET_LOGGERS = (
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.accelerators.cuda",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.trainer.connectors.signal_connector",
    "lightning.pytorch.utilities.rank_zero",
)


class CommandFailedError(SystemExit):
    """A failed command: an exit status, with a message that a notebook shows.

    Args:
        code: Exit status.
        message: One sentence.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.message = message

    @override
    def __str__(self) -> str:
        return self.message


@contextmanager
def console() -> Iterator[None]:
    """Runs a command: an expected error becomes one line on stderr and an exit status.

    Raises:
        SystemExit: If the command failed. Unexpected errors keep their traceback.
    """
    with _quiet_logs(), _ignored_warnings(), _signals_as_exceptions(), _lenient_output():
        try:
            yield
        except BaseException as error:
            status = exit_status(error)
            if status is None:
                raise
            if isinstance(error, BrokenPipeError):  # Python would fail to flush it at exit
                sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
            code, message = status
            with suppress(OSError):  # the terminal may be closed
                print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
            raise CommandFailedError(code, message) from error


def exit_status(error: BaseException) -> tuple[int, str] | None:
    """Returns the exit code and the message for an expected error, None for any other."""
    match error:
        case UserError():
            return error.exit_code, str(error)
        case MisconfigurationException():
            return 2, str(error)
        case ModuleNotFoundError(name="optuna"):
            return 1, "sweep requires Optuna; run: pip install 'mnist_lightning[sweep]'"
        case ModuleNotFoundError():  # an optional requirement of Lightning or of a class
            return 1, str(error)
        case _ if (package := type(error).__module__.partition(".")[0]) in LOGGER_PACKAGES:
            return 1, f"{package} failed: {error}"
        case TerminalClosedException():
            return 129, "stopped because the terminal was closed"
        case SIGTERMException():
            return 143, "stopped by SIGTERM"
        case KeyboardInterrupt() | SystemExit(__context__=KeyboardInterrupt()):
            return 130, "stopped by Ctrl-C"  # Lightning turns it into SystemExit
        case BrokenPipeError():
            return 1, "the output pipe was closed"
        case _ if is_connection_lost(error):
            reason = re.sub(r"^\[\S+\] | This is typically .*", "", " ".join(str(error).split()))
            return 1, f"the processes of this run cannot reach each other: {reason}"
        case OSError(errno=errno.ENOLCK | errno.EOPNOTSUPP | errno.ENOTSUP):
            return 1, (
                f"cannot lock a file of the run ({error.strerror}); choose a "
                "--trainer.default_root_dir on a file system that supports locks"
            )
        case OSError(strerror=str()):
            name = error.filename or "a file of the run"
            file = os.fsdecode(name) if isinstance(name, bytes) else name
            return 1, f"cannot read or write {file} ({error.strerror})"
        case ArithmeticError() | AttributeError() | RuntimeError() | TypeError() | ValueError():
            if library := _rejecting_library(error):
                return 2, f"{library} rejected these options: {error}"
    return None


def _rejecting_library(error: BaseException) -> str | None:
    """Returns the library that raised the error, if it checks some options only on use."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    module = str(frame.f_globals.get("__name__"))
    return next((name for key, name in LIBRARIES.items() if module.startswith(key)), None)


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Shows the package's own messages on stderr, and hides messages that are not useful."""
    package = logging.getLogger("mnist_lightning")
    handler = logging.StreamHandler()
    levels = {package: logging.INFO}
    levels |= {logging.getLogger(name): logging.WARNING for name in QUIET_LOGGERS}
    previous_levels = {logger: logger.level for logger in levels}
    previous_hook, threading.excepthook = threading.excepthook, _ignore_os_errors
    package.addHandler(handler)
    for logger, level in levels.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        package.removeHandler(handler)
        threading.excepthook = previous_hook
        for logger, level in previous_levels.items():
            logger.setLevel(level)


def _ignore_os_errors(args: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread raises an error such as a full disk again in the main thread.
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


@contextmanager
def _ignored_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Batches are indexed in memory; workers would only copy them once more.
        warnings.filterwarnings("ignore", ".*does not have many workers")
        # The user chose the CPU, and the first lines of a fit name the device.
        warnings.filterwarnings("ignore", "GPU available but not used")
        # The command line chose the interval, before the number of batches was known.
        warnings.filterwarnings("ignore", "The number of training batches")
        # A resumed run writes into its own folder.
        for folder in ("Checkpoint directory", "Experiment logs directory"):
            warnings.filterwarnings("ignore", f"{folder} .* exists and is not empty")
        # The first line of a fit says that it resumes within an epoch.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")
        # The names of pictures may have characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # Pillow warns of oddities in pictures that it can read.
        warnings.filterwarnings("ignore", module="PIL")
        # Lightning 2.6.6 uses functions that torch 2.14 and 2.15 deprecate.
        for deprecated in (".*treespec, LeafSpec", ".*distributed.nn.functional.all_gather"):
            warnings.filterwarnings("ignore", deprecated, FutureWarning)
        yield


@contextmanager
def _lenient_output() -> Iterator[None]:
    """Escapes characters that the encoding of the output lacks, such as those of a file name."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, TextIOWrapper)]
    previous = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, previous, strict=True):
            stream.reconfigure(errors=errors)


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Makes SIGTERM stop the run immediately, like Ctrl-C, and SIGHUP, from a closed terminal, too.

    SIGHUP remains ignored under nohup. Windows does not have it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return
    signals = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    previous = [signal.signal(signum, raise_on_signal) for signum in signals]
    try:
        yield
    finally:
        for signum, handler in zip(signals, previous, strict=True):
            signal.signal(signum, handler)
