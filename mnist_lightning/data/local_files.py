"""Reads the files of a data set from a folder and verifies every byte."""

import gzip
import hashlib
import io
import zlib
from pathlib import Path

from mnist_lightning.data.datasets import IdxDataset, StoredFile
from mnist_lightning.errors import DataError, MissingDataError


def load(folder: Path, dataset: IdxDataset) -> dict[str, bytes]:
    """Reads and verifies the files of a data set.

    Args:
        folder: Contains each file, directly or in ``MNIST/raw``, torchvision's layout, with the
            name of the data set. IDX files may be compressed (``.gz``).
        dataset: The data set to read.

    Returns:
        The content of each file in ``dataset.files``, by name.

    Raises:
        DataError: If a file cannot be read.
        MissingDataError: If a file is missing or damaged.
    """
    contents, damaged = read_intact(folder, dataset)
    problems = [
        damaged.get(name, f"{name} is not in {folder}")
        for name in dataset.files
        if name not in contents
    ]
    if problems:
        raise MissingDataError("; ".join(problems))
    return contents


def read_intact(folder: Path, dataset: IdxDataset) -> tuple[dict[str, bytes], dict[str, str]]:
    """Returns the content of each intact file, and a message for each damaged one."""
    contents: dict[str, bytes] = {}
    damaged: dict[str, str] = {}
    for name, expected in dataset.files.items():
        places = (folder / dataset.folder / "raw", folder)
        stored_names = dict.fromkeys((name, archive_name(name)))
        problems = []
        for path in [place / stored_name for place in places for stored_name in stored_names]:
            # A correct file is not larger, so a little more is enough to detect a wrong one.
            stored = _read(path, expected.max_size + 1024)
            if stored is None:
                continue
            content = verify(stored, expected, is_compressed=path.name != name)
            if content is not None:
                contents[name] = content
                break
            problems.append(f"{path} is damaged (wrong checksum for {dataset.name})")
        else:
            if problems:
                damaged[name] = "; ".join(problems)
    return contents, damaged


def archive_name(name: str) -> str:
    """Returns the name under which mirrors offer a file: ``.gz``, unless it is an archive."""
    return name if Path(name).suffix else f"{name}.gz"


def verify(content: bytes, expected: StoredFile, is_compressed: bool) -> bytes | None:
    """Returns the extracted content of a file, or None if its checksum is wrong."""
    if is_compressed:
        try:
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(expected.max_size + 1)  # limited because of gzip bombs
        except (EOFError, OSError, zlib.error):
            return None
    return content if hashlib.sha256(content).hexdigest() == expected.sha256 else None


def _read(path: Path, max_bytes: int) -> bytes | None:
    """Returns the first bytes of a file, or None if there is no such file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); choose another data_dir"
        ) from error
