"""Writing a file so that a reader sees the whole of it, or what was there before."""

import glob
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 3600  # no file takes that long to write


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes ``content`` beside ``path``, flushes it to disk and renames it into place.

    What a process left behind that was killed while it wrote to ``path`` is removed.

    Args:
        path: The file; its folder must exist.
        content: Everything that the file is to hold.

    Raises:
        OSError: If the folder cannot be written or the disk is full; ``path`` is then as it was.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(FileNotFoundError):  # another process may have been faster
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                left.unlink()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names none
        raise
