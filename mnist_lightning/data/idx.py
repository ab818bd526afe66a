"""MNIST's IDX format: an array of numbers after a header with their type and the shape.

torchvision parses it too, but reads files by their path, where they could be changed after their
verification.
"""

import gzip
import io
import math
import struct
import warnings
import zipfile
from collections.abc import Mapping
from typing import IO, Any, Literal

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.data.datasets import IdxDataset
from mnist_lightning.data.in_memory import IndexedImages

TYPES: dict[int, np.dtype[Any]] = {8: np.dtype("uint8"), 12: np.dtype(">i4")}


def load_part(
    contents: Mapping[str, bytes], dataset: IdxDataset, part: Literal["train", "test"]
) -> IndexedImages:
    """Returns the training or the test images of a data set, upright, with labels from 0.

    Images that are stored extracted are not copied: they share the memory of ``contents``.

    Args:
        contents: The verified content of the stored files, by name.
        dataset: Describes the data set.
        part: The part to load.
    """
    names = dataset.idx_files[:2] if part == "train" else dataset.idx_files[2:]
    images, labels = (parse_idx(_read(contents, name)) for name in names)
    if dataset.is_transposed:
        # In place, because EMNIST takes half a gigabyte; its archive is left as it is.
        for chunk in torch.split(images, 10_000):
            chunk.copy_(chunk.mT.clone())
    if labels.dim() == 2:  # QMNIST: the digit, its writer and its origin
        labels = labels[:, 0]
    return IndexedImages(images.unsqueeze(1), labels.long() - dataset.first_label)


def _read(contents: Mapping[str, bytes], name: str) -> bytes | bytearray:
    """Returns the content of an IDX file, which may be in an archive."""
    if name in contents:
        return contents[name]
    if f"{name}.gz" in contents:
        return _extract(io.BytesIO(contents[f"{name}.gz"]))
    (archive,) = contents.values()
    with zipfile.ZipFile(io.BytesIO(archive)) as files, files.open(f"gzip/{name}.gz") as file:
        return _extract(file)


def _extract(archive: IO[bytes]) -> bytearray:
    """Extracts an IDX file into memory of the size that its header states."""
    with gzip.open(archive) as file:
        header = file.read(4)
        header += file.read(4 * header[3])
        dtype, shape = _parse_header(header)
        content = bytearray(len(header) + math.prod(shape) * dtype.itemsize)
        content[: len(header)] = header
        rest = memoryview(content)[len(header) :]
        while size := file.readinto(rest[: 1 << 20]):  # all at once, it would need a copy
            rest = rest[size:]
    return content


def _parse_header(content: bytes | bytearray) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Returns the type of the numbers and the shape of an array in IDX format.

    The third byte is the type, the fourth the number of dimensions; the size of each dimension, a
    big-endian int32, follows.
    """
    return TYPES[content[2]], struct.unpack_from(f">{content[3]}i", content, offset=4)


def parse_idx(content: bytes | bytearray) -> Tensor:
    """Parses an array in IDX format, without copying unsigned bytes.

    Returns:
        uint8 or int32, of the shape in the header.
    """
    dtype, shape = _parse_header(content)
    array = np.frombuffer(content, dtype, offset=4 + 4 * len(shape)).reshape(shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=False))
