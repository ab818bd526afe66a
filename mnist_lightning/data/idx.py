"""MNIST's IDX format: an array of numbers after a header with their type and the shape."""

import gzip
import io
import struct
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, Literal

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

    Images that are stored upright are not copied: they share the memory of ``contents``.

    Args:
        contents: The verified content of the stored files, by name. torchvision parses files too,
            but reads them by their path, where they could be changed after the verification.
        dataset: Describes the data set.
        part: The part to load.
    """
    names = dataset.idx_files[:2] if part == "train" else dataset.idx_files[2:]
    images, labels = (parse_idx(_extract(contents, name)) for name in names)
    if dataset.is_transposed:
        images = images.mT.contiguous()
    if labels.dim() == 2:  # QMNIST: the digit, its writer and its origin
        labels = labels[:, 0]
    return IndexedImages(images.unsqueeze(1), labels.long() - dataset.first_label)


def _extract(contents: Mapping[str, bytes], name: str) -> bytes:
    """Returns the content of an IDX file, which may be in an archive."""
    if name in contents:
        return contents[name]
    if f"{name}.gz" in contents:
        return gzip.decompress(contents[f"{name}.gz"])
    (archive,) = contents.values()
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return gzip.decompress(files.read(f"gzip/{name}.gz"))


def parse_idx(content: bytes) -> Tensor:
    """Parses an array in IDX format, without copying unsigned bytes.

    The third byte is the type of the numbers, the fourth the number of dimensions; the size of each
    dimension, a big-endian int32, and the numbers follow.

    Returns:
        uint8 or int32, of the shape in the header.
    """
    dtype, num_dimensions = TYPES[content[2]], content[3]
    shape = struct.unpack_from(f">{num_dimensions}i", content, offset=4)
    array = np.frombuffer(content, dtype, offset=4 + 4 * num_dimensions).reshape(shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array.astype(dtype.newbyteorder("="), copy=False))
