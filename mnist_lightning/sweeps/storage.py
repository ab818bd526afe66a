"""The storage of a sweep's trials: a journal in its folder, or a database."""

import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalRedisBackend
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from typing_extensions import override

from mnist_lightning.errors import InvalidArgumentError, UserError

SECONDS_TO_LOCK = 30.0
OPEN_ATTEMPTS = 4
SECONDS_BETWEEN_ATTEMPTS = 0.5
DAMAGE = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError)


class _JournalLock(JournalFileOpenLock):
    """A lock that the system releases when its process dies, and that repairs the journal.

    Optuna's own locks are files, which remain for 30 seconds after a process was killed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._lock = FileLock(f"{path}.lock")

    @override
    def acquire(self) -> bool:
        try:
            self._lock.acquire(timeout=SECONDS_TO_LOCK)
        except Timeout:
            raise UserError(
                f"the journal {self._path} is locked by a process that does not respond; stop that "
                "process"
            ) from None
        _remove_incomplete_line(self._path)
        return True

    @override
    def release(self) -> None:
        self._lock.release()


def _remove_incomplete_line(path: Path) -> None:
    """Removes the end of a journal whose writer was killed, or had no disk space.

    Optuna could no longer read the journal if another line followed.
    """
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """Opens the storage of a sweep.

    Args:
        url: URL of a database as in SQLAlchemy, or of a Redis server; None for the journal.
        journal: The file of the journal.

    Raises:
        UserError: If the storage cannot be opened or read.
    """
    if url is None:
        try:
            return JournalStorage(JournalFileBackend(str(journal), _JournalLock(journal)))
        except DAMAGE as error:
            raise UserError(
                f"the journal {journal} is damaged; restore it from a backup, or choose another "
                "--name"
            ) from error
    try:
        if url.startswith("redis"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return JournalStorage(JournalRedisBackend(url))
        return _open_database(url)
    except Exception as error:
        if not isinstance(error, (ImportError, ValueError, *_database_errors())):
            raise
        cause = error.__cause__ or error
        if isinstance(cause, ModuleNotFoundError):
            requirement = f"it requires the package {cause.name}; install it"
            raise InvalidArgumentError("--storage", hide_password(url), requirement) from error
        if isinstance(cause, ArgumentError | ImportError | ValueError):
            raise InvalidArgumentError("--storage", hide_password(url), str(cause)) from error
        raise UserError(
            f"cannot open the storage {hide_password(url)} ({_reason(cause)})"
        ) from error


def _open_database(url: str) -> BaseStorage:
    # A pool would keep connections open until the garbage is collected.
    options = {"poolclass": NullPool} if url.startswith("sqlite") else {}
    # Creating the tables fails while another process creates them.
    for _ in range(OPEN_ATTEMPTS - 1):
        try:
            return get_storage(RDBStorage(url, options))
        except DBAPIError:
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)
    return get_storage(RDBStorage(url, options))


@contextmanager
def storage_errors(url: str | None) -> Iterator[None]:
    """Turns errors of an open database into a ``UserError``.

    Args:
        url: See ``open_storage``.
    """
    try:
        yield
    except _database_errors() as error:
        raise UserError(
            f"the storage {hide_password(url or '')} failed ({_reason(error.__cause__ or error)}); "
            "run the same command again to continue the sweep"
        ) from error


def _database_errors() -> tuple[type[Exception], ...]:
    redis = sys.modules.get("redis")  # imported only if it is used
    return (StorageInternalError, SQLAlchemyError, *([redis.RedisError] if redis else []))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def hide_password(url: str) -> str:
    """Returns a URL without user, password and query."""
    return re.sub(r"(?<=://).*@|\?.*", "", url)
