"""Writes files atomically: a reader sees the complete file or the previous one."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

RETRY_SECONDS = (0.01, 0.04, 0.15, 0.3, 0.5)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes a temporary file in the same folder, flushes it to disk and renames it to ``path``.

    Args:
        path: The file to create or replace, in an existing folder.
        content: The complete content of the file.

    Raises:
        OSError: If the folder is not writable or the disk is full; an existing file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not name the file
        raise
    finally:
        with suppress(OSError):  # it has been renamed, or was never created
            temporary.unlink()


def replace_file(source: Path, target: Path) -> None:
    """Renames ``source`` to ``target``, which it replaces.

    Windows refuses this while another program, such as a virus scanner, has one of the files open.
    Therefore it is repeated for a second.

    Raises:
        OSError: If it remains impossible; both files are unchanged.
    """
    for seconds in RETRY_SECONDS:
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    source.replace(target)
