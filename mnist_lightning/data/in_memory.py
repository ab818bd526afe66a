"""Images in memory that come in whole batches."""

import struct
import warnings
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

Batch = tuple[Tensor, Tensor]


class IndexedImages(Dataset[Batch]):
    """Images and labels in memory that give a whole batch in one indexing call.

    Loading image by image and stacking them costs more than the training step of a small network.
    A DataLoader of your own over it needs a ``collate_fn`` that returns its argument.

    Args:
        images: uint8 of shape ``(N, 1, H, W)``.
        labels: int64 of shape ``(N,)``.
        augment: Maps the images of a batch to changed ones, where they are.
    """

    def __init__(self, images: Tensor, labels: Tensor, augment: nn.Module | None = None) -> None:
        self.images = images
        self.labels = labels
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    @override
    def __getitem__(self, index: int) -> Batch:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: list[int] | Tensor) -> Batch:
        """Returns the batch that the loader asks for: images in [0, 1] and labels."""
        batch = self.part(torch.as_tensor(indices, device=self.labels.device))
        images = batch.images.float().div_(255)
        return images if self.augment is None else self.augment(images), batch.labels

    def part(self, indices: Tensor) -> "IndexedImages":
        """Returns copies of some of the images and labels."""
        # Twice as fast as images[indices].
        return IndexedImages(
            self.images.index_select(0, indices), self.labels.index_select(0, indices)
        )

    def to(self, device: torch.device) -> Self:
        """Moves images and labels to a device and returns itself."""
        self.images, self.labels = self.images.to(device), self.labels.to(device)
        return self


class BatchLoader(DataLoader[Batch]):
    """A DataLoader over ``IndexedImages`` that asks for whole batches and starts no workers.

    The order of an epoch comes from its sampler, also from one that Lightning puts there, and goes
    to the device of the images in one piece.
    """

    dataset: IndexedImages
    batch_size: int

    @override
    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        order = torch.from_numpy(np.fromiter(self.sampler, np.int64))
        for chosen in torch.split(order.to(self.dataset.labels.device), self.batch_size):
            yield self.dataset.__getitems__(chosen)


def parse_idx(content: bytes) -> Tensor:
    """Reads unsigned bytes in IDX format: magic number, sizes as big-endian int32, the data.

    The tensor lies in ``content`` and is not to be written to.
    """
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}i", content[4:header])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.frombuffer(content, dtype=torch.uint8, offset=header).view(shape)
