"""Reads the files of a data set from a folder and verifies every byte."""

import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO

from mnist_lightning.data.datasets import IdxDataset, StoredFile
from mnist_lightning.errors import DataError, MissingDataError

# Raised for files that are unreadable, damaged or encrypted.
ARCHIVE_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK"
MAX_LISTED = 8


def load(folder: Path, dataset: IdxDataset) -> dict[str, bytes]:
    """Reads and verifies the files of a data set.

    Args:
        folder: Contains each file, directly or in ``MNIST/raw``, torchvision's layout, with the
            name of the data set. Otherwise files are found by their content, whatever their names,
            in the folder and its subfolders. IDX files may be compressed (gzip or zip).
        dataset: The data set to read.

    Returns:
        The content of each file in ``dataset.files``, by name.

    Raises:
        DataError: If a file cannot be read.
        MissingDataError: If a file is missing or damaged.
    """
    contents, damaged = read_intact(folder, dataset)
    if len(contents) < len(dataset.files):
        problems = describe_problems(folder, dataset, contents, damaged)
        raise MissingDataError("; ".join(problems) or f"{folder} contains no files")
    return contents


def describe_problems(
    folder: Path, dataset: IdxDataset, contents: Iterable[str], damaged: Mapping[str, str]
) -> list[str]:
    """Returns messages about files that are damaged or missing, with the files found instead.

    Args:
        folder: The folder.
        dataset: The data set.
        contents: Names of the files that are intact.
        damaged: A message for each damaged file.
    """
    missing = [name for name in dataset.files if name not in contents and name not in damaged]
    found = [str(path.relative_to(folder)) for path in _find_files(folder, dataset)]
    if not missing or not found:
        return [*damaged.values()]
    if len(found) > MAX_LISTED:
        found = [*found[:MAX_LISTED], f"{len(found) - MAX_LISTED:,} other files"]
    return [
        *damaged.values(),
        f"{folder} contains {', '.join(found)}, but not the content of {', '.join(missing)}",
    ]


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
    if len(contents) < len(dataset.files):
        contents |= _find_by_content(folder, dataset, contents)
    return contents, {name: text for name, text in damaged.items() if name not in contents}


def _find_by_content(
    folder: Path, dataset: IdxDataset, contents: Iterable[str]
) -> dict[str, bytes]:
    """Finds missing files under other names, as browsers, unzip tools and Kaggle leave them."""
    missing = {name: file for name, file in dataset.files.items() if name not in contents}
    names = {file.sha256: name for name, file in missing.items()}
    # Only files of the right size are read; only an upper bound is known for archives.
    sizes = {file.max_size for name, file in missing.items() if not Path(name).suffix}
    archives = [file.max_size for name, file in missing.items() if Path(name).suffix]
    found = {}
    for path in _find_files(folder, dataset):
        # Another file does not matter, whatever it is.
        with suppress(*ARCHIVE_ERRORS), path.open("rb") as file:
            size, max_archive_size = path.stat().st_size, max(archives, default=0)
            for content in _candidates(file, size, sizes, max_archive_size):
                if name := names.get(hashlib.sha256(content).hexdigest()):
                    found[name] = content
    return found


def _find_files(folder: Path, dataset: IdxDataset) -> list[Path]:
    """Returns the files in a folder, one level below and in ``MNIST/raw``, without hidden ones."""
    patterns = ("[!.]*", "[!.]*/[!.]*", f"{dataset.folder}/raw/[!.]*")
    files = []
    for path in chain.from_iterable(map(folder.glob, patterns)):
        with suppress(OSError):
            if path.is_file():
                files.append(path)
    return sorted(files)


def _candidates(
    file: IO[bytes],
    size: int,
    sizes: Collection[int],
    max_archive_size: int,
    is_member: bool = False,
) -> Iterator[bytes]:
    """Yields the possible contents of a file: as it is stored, and extracted.

    Args:
        file: The file.
        size: Its size.
        sizes: Sizes of extracted files.
        max_archive_size: The maximum size of an archive that is used as it is.
        is_member: Whether the file is in a ZIP archive, so that no other one in it is read.
    """
    magic = file.read(2)
    is_archive = magic in (GZIP_MAGIC, ZIP_MAGIC)
    if size in sizes or (is_archive and size <= max_archive_size):
        file.seek(0)
        yield file.read()
    if magic == GZIP_MAGIC:
        file.seek(-4, io.SEEK_END)  # gzip stores the size of the content there
        content_size = int.from_bytes(file.read(), "little")
        if content_size in sizes:
            file.seek(0)
            with gzip.open(file) as archive:
                yield archive.read(content_size + 1)
    if magic == ZIP_MAGIC and not is_member:
        max_size = max([*sizes, max_archive_size]) + 1024  # a compressed file is hardly larger
        with zipfile.ZipFile(file) as zip_file:
            for member in zip_file.infolist():
                size = member.file_size
                if size <= max_size:
                    with zip_file.open(member) as content:
                        yield from _candidates(content, size, sizes, max_archive_size, True)


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
