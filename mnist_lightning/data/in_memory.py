"""Images and labels in memory: a dataset, a loader of complete batches, and the IDX format."""

import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

Batch = tuple[Tensor, Tensor]


class IndexedImages(Dataset[Batch]):
    """Images and labels in memory, by index or as complete batches.

    An item is an image, float32 of shape ``(1, H, W)`` in [0, 1], and its label, int64 of shape
    ``()``, so ``DataLoader``, ``Subset`` and ``random_split`` work as with any other dataset.

    Args:
        images: uint8 of shape ``(N, 1, H, W)``.
        labels: int64 of shape ``(N,)``.
        augment: Maps a batch of images to changed images, on the device of the images.

    Example:
        >>> images = torch.randint(256, (100, 1, 28, 28), dtype=torch.uint8)
        >>> dataset = IndexedImages(images, torch.arange(100) % 10)
        >>> image, label = dataset[42]
        >>> image.shape, label
        (torch.Size([1, 28, 28]), tensor(2))
        >>> images, labels = dataset.batch(torch.tensor([42, 43, 44]))
        >>> images.shape, labels
        (torch.Size([3, 1, 28, 28]), tensor([2, 3, 4]))
    """

    def __init__(self, images: Tensor, labels: Tensor, augment: nn.Module | None = None) -> None:
        self.images = images
        self.labels = labels
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    @override
    def __getitem__(self, index: int) -> Batch:
        index = range(len(self))[index]  # counts from the end if negative, or raises IndexError
        images, labels = self.batch(torch.tensor([index]))
        return images[0], labels[0]

    def batch(self, indices: Tensor) -> Batch:
        """Returns the images in [0, 1] and labels at ``indices``, in one indexing call."""
        chosen = self.subset(indices)
        images = chosen.images.float().div_(255)
        return images if self.augment is None else self.augment(images), chosen.labels

    def subset(self, indices: Tensor) -> "IndexedImages":
        """Returns copies of the images and labels at ``indices`` as a dataset."""
        indices = indices.to(self.labels.device)
        # index_select is twice as fast as images[indices].
        return IndexedImages(
            self.images.index_select(0, indices),
            self.labels.index_select(0, indices),
            self.augment,
        )

    def to(self, device: torch.device) -> Self:
        """Moves images and labels to a device and returns the dataset itself."""
        self.images, self.labels = self.images.to(device), self.labels.to(device)
        return self


class BatchLoader(DataLoader[Batch]):
    """A DataLoader over ``IndexedImages`` that loads each batch in one indexing call.

    It starts no worker processes. In an epoch of 48,000 images, which trains in 1.6 s, loading
    takes about 15 ms on a CPU core; a DataLoader whose collate function is the identity takes
    about 30 ms, and one that stacks single images about 800 ms.
    """

    dataset: IndexedImages
    batch_sampler: Sampler[list[int]]

    @override
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches: Iterable[Tensor]
        if self.batch_size is None or self.drop_last:  # None with a custom batch sampler
            batches = map(torch.as_tensor, self.batch_sampler)
        else:  # the order of the epoch goes to the device of the images in one transfer
            order = torch.from_numpy(np.fromiter(self.sampler, np.int64))
            batches = torch.split(order.to(self.dataset.labels.device), self.batch_size)
        yield from map(self.dataset.batch, batches)


def load_part(files: Mapping[str, bytes], part: Literal["train", "t10k"]) -> IndexedImages:
    """Returns the training images (``train``) or the test images (``t10k``) of a data set.

    The images share the memory of ``files`` and must not be modified; ``subset`` copies them.

    Args:
        files: The extracted content of the four files, by name.
        part: Prefix of the names of the two files to parse.
    """
    images = parse_idx(files[f"{part}-images-idx3-ubyte"])
    labels = parse_idx(files[f"{part}-labels-idx1-ubyte"])
    return IndexedImages(images.unsqueeze(1), labels.long())


def parse_idx(content: bytes) -> Tensor:
    """Parses unsigned bytes in MNIST's IDX format, without copying them.

    The fourth byte is the number of dimensions; the size of each dimension, a big-endian int32,
    and the data follow.
    """
    num_dimensions = content[3]
    shape = struct.unpack_from(f">{num_dimensions}i", content, offset=4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        data = torch.frombuffer(content, dtype=torch.uint8, offset=4 + 4 * num_dimensions)
    return data.view(shape)
