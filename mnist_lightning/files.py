"""Writing a file so that a reader sees the whole of it, or what was there before."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes ``content`` beside ``path``, flushes it to disk and renames it into place.

    Args:
        path: The file; its folder must exist.
        content: Everything that the file is to hold.

    Raises:
        OSError: If the folder cannot be written or the disk is full; ``path`` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
