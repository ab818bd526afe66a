"""Reads the files of a data set from a folder and verifies every byte."""

import gzip
import hashlib
import io
import zlib
from pathlib import Path

from mnist_lightning.data.datasets import IdxDataset, IdxFile
from mnist_lightning.errors import DataError, MissingDataError


def load(folder: Path, dataset: IdxDataset) -> dict[str, bytes]:
    """Reads and verifies the files of a data set.

    Args:
        folder: Contains each file, extracted or compressed (``.gz``), directly or in
            ``MNIST/raw``, torchvision's layout, with the name of the data set.
        dataset: The data set to read.

    Returns:
        The extracted content of each file, by name.

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
    """Returns the extracted content of each intact file, and a message for each damaged one."""
    contents: dict[str, bytes] = {}
    damaged: dict[str, str] = {}
    for name, expected in dataset.files.items():
        suffixes = (".gz",) if expected.is_sha256_of_gz else ("", ".gz")
        places = (folder / dataset.name / "raw", folder)
        problems = []
        for path in [place / f"{name}{suffix}" for place in places for suffix in suffixes]:
            # A correct file is not larger, so a little more is enough to detect a wrong one.
            stored = _read(path, expected.size + 1024)
            if stored is None:
                continue
            content = verify(stored, path.suffix == ".gz", expected)
            if content is not None:
                contents[name] = content
                break
            problems.append(f"{path} is damaged (wrong checksum for {dataset.name})")
        else:
            if problems:
                damaged[name] = "; ".join(problems)
    return contents, damaged


def verify(stored: bytes, is_gz: bool, expected: IdxFile) -> bytes | None:
    """Returns the extracted content of a stored file, or None if its checksum is wrong."""
    content = stored
    if is_gz:
        try:
            with gzip.open(io.BytesIO(stored)) as file:
                content = file.read(expected.size + 1)  # limited because of gzip bombs
        except (EOFError, OSError, zlib.error):
            return None
    sha256 = hashlib.sha256(stored if expected.is_sha256_of_gz else content).hexdigest()
    return content if sha256 == expected.sha256 else None


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
