"""Run folders: ``lightning_logs/version_N``, one for each run that writes."""

import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from mnist_lightning.errors import UserError

FOLDER = "lightning_logs"
_PREFIX = "version_"


def existing(root: Path) -> list[Path]:
    """Returns the run folders below ``root``, the oldest first."""
    found = [
        path
        for path in (root / FOLDER).glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdecimal()
    ]
    return sorted(found, key=_number)


@rank_zero_only
def create(root: Path) -> Path:
    """Makes the next run folder; no two runs get the same. Only the first process makes one.

    Raises:
        UserError: If it cannot be made.
    """
    runs = existing(root)
    for number in count(_number(runs[-1]) + 1 if runs else 0):
        run = root / FOLDER / f"{_PREFIX}{number}"
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            if run.is_dir():
                continue
            raise UserError(
                f"the run folder {run} cannot be made: a file is in its place"
            ) from None
        except OSError as error:
            raise UserError(f"the run folder {run} cannot be made ({error.strerror})") from error
        break
    return run


@rank_zero_only
def lock(run: Path) -> FileLock:
    """Takes a run for this process until the lock that is returned is released, or Python ends.

    Raises:
        UserError: If another process has it.
    """
    taken = FileLock(run / ".lock")
    try:
        taken.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"the run {run} is being trained by another process; wait for it, or start a new fit"
        ) from None
    return taken


def discard(run: Path) -> None:
    """Removes the folder of a run that never began."""
    shutil.rmtree(run)
    with suppress(OSError):  # other runs are in there
        run.parent.rmdir()


def _number(run: Path) -> int:
    return int(run.name.removeprefix(_PREFIX))
