"""MNIST as a LightningDataModule."""

import logging
import operator
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from mnist_lightning import download
from mnist_lightning.datasets import DATASETS, SAMPLE
from mnist_lightning.digits import PictureDigits, find_pictures
from mnist_lightning.errors import InvalidArgumentError, MissingDataError, is_module, require

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]
SAMPLE_DIR = Path(__file__).parent / "sample"


class MNISTDataModule(LightningDataModule):
    """The MNIST digits, scaled to 0-1 and split into training, validation and test images.

    Every loader yields ``(images, labels)``: float32 of shape ``(N, 1, 28, 28)`` in [0, 1] and
    int64 of shape ``(N,)``. The official 10,000 test images are only ever tested and predicted.
    Other data sets in MNIST's format take its place by ``dataset``.

    Args:
        data_dir: Folder with the four files (extracted or ``.gz``, directly or in torchvision's
            ``MNIST/raw``); those that it lacks are downloaded into it.
        batch_size: Images in a training batch, on all devices together.
        val_fraction: Part of the training images that validates, between 0 and 1.
        split_seed: Seed of that split, apart from the seed of the run.
        source: ``auto`` takes the files in ``data_dir``, else downloads them, else falls back to
            the embedded sample of 5,000 digits with a warning; ``mnist`` never takes the sample,
            ``sample`` always does. There is a sample of MNIST only.
        mirrors: Base URLs (http, https, file) to ask before the built-in ones, a list or a string
            with commas; default: the environment variable ``MNIST_MIRRORS`` (for other data sets
            with their name, ``FASHIONMNIST_MIRRORS``).
        augment: Maps the images of a training batch to changed ones, where the batch is, such as
            ``RandomDistortion``; validation and test images stay as they are.
        images: Pictures for ``predict`` instead of the test images: files, folders, or patterns
            such as ``scans/*.png``. Each is brought into MNIST's form.
        dataset: ``MNIST``; ``FashionMNIST``, clothes (Xiao and others, 2017); or ``KMNIST``,
            Japanese characters (Clanuwat and others, 2018).

    Raises:
        InvalidArgumentError: If an argument is out of range.

    Example:
        >>> data = MNISTDataModule(source="sample", batch_size=32)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> images, labels = next(iter(data.train_dataloader()))
        >>> images.shape, labels.shape
        (torch.Size([32, 1, 28, 28]), torch.Size([32]))
    """

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 128,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        source: Literal["auto", "mnist", "sample"] = "auto",
        mirrors: list[str] | str | None = None,
        augment: nn.Module | None = None,
        images: list[str] | str | None = None,
        dataset: Literal["MNIST", "FashionMNIST", "KMNIST"] = "MNIST",
    ) -> None:
        super().__init__()
        require(
            "data_dir",
            data_dir,
            _is_path,
            "it must be the path of a folder",
        )
        require(
            "batch_size",
            batch_size,
            lambda value: 1 <= operator.index(value) < 1 << 31,
            "it must be at least 1",
        )
        require(
            "val_fraction",
            val_fraction,
            lambda value: 0 < value < 1,
            "it must lie between 0 and 1, both excluded (0.2 keeps 48,000 images for training)",
        )
        require(
            "dataset",
            dataset,
            lambda value: value in DATASETS,
            f"it must be one of {', '.join(DATASETS)}",
        )
        require(
            "source",
            source,
            lambda value: value in ("auto", "mnist", "sample"),
            "it must be auto, mnist or sample",
        )
        require(
            "source",
            source,
            lambda value: value != "sample" or dataset == "MNIST",
            f"the sample is of MNIST, and dataset is {dataset}",
        )
        require(
            "split_seed",
            split_seed,
            lambda value: 0 <= operator.index(value) < 1 << 63,
            "it must lie in 0 to 2**63 - 1",
        )
        require(
            "augment",
            augment,
            is_module,
            "it must be a torch.nn.Module that maps images to images",
        )
        images = [images] if isinstance(images, str) else images
        require(
            "images",
            images,
            lambda value: value is None or (value and all(map(_is_path, value))),
            "it must name files, folders, or patterns such as 'scans/*.png'",
        )
        require(
            "images",
            images,
            lambda value: value is None or dataset == "MNIST",
            f"pictures are prepared as MNIST's digits are, and dataset is {dataset}",
        )
        data_dir = str(data_dir)  # a Path could not be read from a checkpoint again
        self._mirrors = download.check_mirrors(mirrors, DATASETS[dataset])
        # URLs may hold passwords, and a module could not be read from a checkpoint again.
        self.save_hyperparameters(ignore=["mirrors", "augment", "images"])
        self.data_dir = Path(data_dir).expanduser()
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.source = source
        self.augment = augment
        self.images = images
        self.dataset = DATASETS[dataset]
        self.class_names = self.dataset.class_names
        self._files: dict[str, bytes] = {}
        self.fallback_reason: str | None = None
        """Why the sample is used, where ``source="auto"`` had to fall back to it."""

    @property
    def dataset_name(self) -> str:
        """What the images are, for titles and results; settled once ``setup`` has run."""
        if hasattr(self, "pictures"):
            return "your pictures"
        return SAMPLE.name if self.source == "sample" else self.dataset.name

    @override
    def prepare_data(self) -> None:
        """Downloads what ``data_dir`` lacks.

        Raises:
            DataError: If ``data_dir`` cannot be used.
            MissingDataError: If no mirror gave the files, and the sample may not be taken.
        """
        if self.source == "sample" or self._shows_pictures:
            return
        try:
            self._files = download.fetch(self.data_dir, self.dataset, self._mirrors)
        except MissingDataError as error:
            if self._needs_files:
                sample = ", or use --data.source sample" if self.dataset.name == "MNIST" else ""
                raise MissingDataError(
                    f"{self.dataset.name} cannot be downloaded ({error}); name a mirror with "
                    f"--data.mirrors, or put the four files into {self.data_dir}{sample}"
                ) from error
            self.fallback_reason = str(error)

    @override
    def setup(self, stage: str) -> None:
        """Reads, verifies and splits the images, once; ``source`` then says which were taken.

        To predict pictures, it only finds their files.

        Raises:
            DataError: If ``data_dir`` cannot be read, or ``images`` names no picture.
            MissingDataError: If ``data_dir`` does not hold the files, and the sample may not be
                taken.
        """
        if self._shows_pictures:
            self.pictures = PictureDigits(find_pictures(self.images or ()))
            return
        if hasattr(self, "test_set"):
            return
        files, self._files = self._files, {}
        if self.source != "sample":
            try:
                # Only one process of a machine has fetched them.
                files = files or download.load(self.data_dir, self.dataset)
                self.source = "mnist"
            except MissingDataError as error:
                if self._needs_files:
                    raise
                self.fallback_reason = self.fallback_reason or str(error)
                self.source = "sample"
                log.warning("%s", self.fallback_notice)
        if self.source == "sample":
            files = download.load(SAMPLE_DIR, SAMPLE)
        self.hparams["source"] = self.source  # a checkpoint tells what its weights were trained on

        whole = IndexedImages(_images(files, "train"), _labels(files, "train"))
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(whole), generator=generator)
        val_size = round(len(whole) * self.val_fraction)
        if not 0 < val_size < len(whole):
            raise InvalidArgumentError(
                "val_fraction",
                self.val_fraction,
                f"of {len(whole):,} images it must leave some to train and some to validate",
            )
        self.train_set, self.val_set = whole.part(order[val_size:]), whole.part(order[:val_size])
        test = IndexedImages(_images(files, "t10k"), _labels(files, "t10k"))
        self.test_set = test.part(torch.arange(len(test)))

    def share_of_batch(self, processes: int) -> int:
        """Returns how many images of a training batch each of several processes takes.

        Raises:
            InvalidArgumentError: If they cannot be shared out evenly.
        """
        require(
            "batch_size",
            self.batch_size,
            lambda value: value % processes == 0,
            f"it must be a multiple of {processes}, the number of processes",
        )
        return self.batch_size // processes

    @property
    def fallback_notice(self) -> str | None:
        """Says that and why the sample was used, and how to get MNIST; None if it was not."""
        if self.fallback_reason is None:
            return None
        return (
            "WARNING: this is not MNIST but the embedded sample of 5,000 MNIST digits (4,000 to "
            f"train and validate, 1,000 to test).\n  Why: {self.fallback_reason}\n  For MNIST: "
            f"connect to the network, or put the four files into {self.data_dir}, or name a mirror "
            "with --data.mirrors or MNIST_MIRRORS."
        )

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        share = self.share_of_batch(self.trainer.world_size if self.trainer else 1)
        images = self._here(self.train_set)
        if self.augment is not None:
            # Not in a hook for batches: it would take the place of the model's own.
            augment = self.augment.to(images.labels.device)
            images = IndexedImages(images.images, images.labels, augment)
        return BatchLoader(images, batch_size=share, shuffle=True)

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.val_set)

    @override
    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.test_set)

    @override
    def predict_dataloader(self) -> DataLoader[Batch] | DataLoader[Tensor]:
        if self._shows_pictures:
            return DataLoader(self.pictures, batch_size=self.batch_size, collate_fn=torch.cat)
        # Lightning puts a batch sampler of its own into loaders to predict from.
        return DataLoader(
            self._here(self.test_set), batch_size=self.batch_size, collate_fn=_as_it_is
        )

    @property
    def _needs_files(self) -> bool:
        """Whether the sample may not take their place."""
        return self.source == "mnist" or self.dataset.name != "MNIST"

    @property
    def _shows_pictures(self) -> bool:
        """Whether ``images`` take the place of MNIST's."""
        return bool(self.images and self.trainer and self.trainer.predicting)

    def _evaluation_loader(self, images: "IndexedImages") -> DataLoader[Batch]:
        sampler = None
        if self.trainer and self.trainer.world_size > 1:  # else Lightning would repeat some images
            sampler = UnrepeatedDistributedSampler(
                images, self.trainer.world_size, self.trainer.global_rank, shuffle=False
            )
        # Without gradients four times as many fit, and there is a quarter of the bookkeeping.
        return BatchLoader(self._here(images), batch_size=4 * self.batch_size, sampler=sampler)

    def _here(self, images: "IndexedImages") -> "IndexedImages":
        """Puts images where they are trained on; a GPU then holds them all, as bytes."""
        return images.to(self.trainer.strategy.root_device) if self.trainer else images


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


def _is_path(value: Any) -> bool:
    return bool(value) and b"\0" not in os.fsencode(str(os.fspath(value)))


def _as_it_is(batch: Any) -> Any:
    return batch


def _images(files: dict[str, bytes], part: str) -> Tensor:
    return _parse_idx(files[f"{part}-images-idx3-ubyte"]).unsqueeze(1)


def _labels(files: dict[str, bytes], part: str) -> Tensor:
    return _parse_idx(files[f"{part}-labels-idx1-ubyte"]).long()


def _parse_idx(content: bytes) -> Tensor:
    """Reads unsigned bytes in IDX format: magic number, sizes as big-endian int32, the data.

    The tensor lies in ``content`` and is not to be written to.
    """
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}i", content[4:header])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.frombuffer(content, dtype=torch.uint8, offset=header).view(shape)
