"""Run folders: ``lightning_logs/version_N``, one for each run that writes files."""

import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from mnist_lightning.errors import UserError

LOGS = "lightning_logs"
_PREFIX = "version_"
FILES_OF_STARTED_RUNS = ("config.yaml", "checkpoints", "predictions.csv", "results.json")


class Run:
    """A run folder, in use by this process until it is closed.

    Args:
        path: The folder.
        is_new: Whether the folder was created for this run, not for the run that is resumed.
    """

    def __init__(self, path: Path, is_new: bool) -> None:
        self.path = path
        self.is_new = is_new
        self._lock = FileLock(path / ".lock")

    @classmethod
    def create(cls, root: Path) -> "Run":
        """Creates the next run folder below ``root``; no two calls get the same one.

        Raises:
            UserError: If the folder cannot be created.
        """
        runs = find_runs(root)
        number = _number(runs[-1]) + 1 if runs else 0
        while True:
            path = root / LOGS / f"{_PREFIX}{number}"
            try:
                path.mkdir(parents=True)
                return cls(path, is_new=True)
            except OSError as error:
                if not path.is_dir():
                    raise UserError(
                        f"cannot create the run folder {path} ({error.strerror}); choose another "
                        "--trainer.default_root_dir"
                    ) from error
            number += 1  # another process has created this one meanwhile

    @rank_zero_only
    def lock(self) -> None:
        """Reserves the run for this process until it is closed.

        Raises:
            UserError: If another process is training this run.
            OSError: If the folder cannot be locked; a new one is removed.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise UserError(
                f"the run {self.path} is being trained by another process; wait for it, or start "
                "a new fit"
            ) from None
        except OSError:  # the file system does not support locks
            self.close()
            raise

    @rank_zero_only
    def check_exists(self) -> None:
        """Checks that nobody deleted the folder of a locked run.

        Raises:
            UserError: If it was deleted, and perhaps created again by something that was saved.
        """
        if not Path(self._lock.lock_file).exists():
            raise UserError(
                f"the run folder {self.path} was deleted during the run; start a new fit"
            )

    def close(self) -> None:
        """Releases the lock, and removes the folder of a new run that did not start."""
        self._lock.release()
        if self.is_new and not any((self.path / name).exists() for name in FILES_OF_STARTED_RUNS):
            shutil.rmtree(self.path, ignore_errors=True)  # somebody else may have deleted it
            with suppress(OSError):  # not empty: it holds other runs
                self.path.parent.rmdir()


def find_runs(root: Path) -> list[Path]:
    """Returns the run folders below ``root``, the oldest first."""
    folders = [
        path
        for path in (root / LOGS).glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdecimal()
    ]
    return sorted(folders, key=_number)


def _number(run: Path) -> int:
    return int(run.name.removeprefix(_PREFIX))
