"""Writes files atomically: a reader sees the complete file or the previous one."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


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
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not name the file
        raise
    finally:
        with suppress(OSError):  # it has been renamed, or was never created
            temporary.unlink()
