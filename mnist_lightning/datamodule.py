"""MNIST as a LightningDataModule."""

import logging
import os
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor, nn
from torch.utils.data import DataLoader
from typing_extensions import override

from mnist_lightning.data import download, local_files
from mnist_lightning.data.datasets import DATASETS, SAMPLE
from mnist_lightning.data.in_memory import Batch, BatchLoader, IndexedImages, parse_idx
from mnist_lightning.errors import (
    InvalidArgumentError,
    MissingDataError,
    check,
    check_choice,
    check_integer,
    check_module,
    check_number,
)
from mnist_lightning.pictures.reading import PictureDigits, find_pictures

log = logging.getLogger(__name__)

SAMPLE_DIR = Path(__file__).parent / "data" / "sample"


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
        check("data_dir", data_dir, _is_path, "it must be the path of a folder")
        check_integer("batch_size", batch_size, 1, 2**31 - 1)
        check_number(
            "val_fraction",
            val_fraction,
            above=0,
            below=1,
            hint="0.2 keeps 48,000 images for training",
        )
        check_choice("dataset", dataset, DATASETS)
        check_choice("source", source, ("auto", "mnist", "sample"))
        check(
            "source",
            source,
            lambda value: value != "sample" or dataset == "MNIST",
            f"the sample is of MNIST, and dataset is {dataset}",
        )
        check_integer("split_seed", split_seed, 0, 2**63 - 1)
        check_module("augment", augment, "maps images to images")
        images = [images] if isinstance(images, str) else images
        check(
            "images",
            images,
            lambda value: value is None or (value and all(map(_is_path, value))),
            "it must name files, folders, or patterns such as 'scans/*.png'",
        )
        check(
            "images",
            images,
            lambda value: value is None or dataset == "MNIST",
            f"pictures are prepared as MNIST's digits are, and dataset is {dataset}",
        )
        data_dir = str(data_dir)  # a Path could not be read from a checkpoint again
        self._mirrors = download.resolve_mirrors(mirrors, DATASETS[dataset])
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
                files = files or local_files.load(self.data_dir, self.dataset)
                self.source = "mnist"
            except MissingDataError as error:
                if self._needs_files:
                    raise
                self.fallback_reason = self.fallback_reason or str(error)
                self.source = "sample"
                log.warning("%s", self.fallback_notice)
        if self.source == "sample":
            files = local_files.load(SAMPLE_DIR, SAMPLE)
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
        self.train_set, self.val_set = (
            whole.subset(order[val_size:]),
            whole.subset(order[:val_size]),
        )
        test = IndexedImages(_images(files, "t10k"), _labels(files, "t10k"))
        self.test_set = test.subset(torch.arange(len(test)))

    def share_of_batch(self, processes: int) -> int:
        """Returns how many images of a training batch each of several processes takes.

        Raises:
            InvalidArgumentError: If they cannot be shared out evenly.
        """
        check(
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
        return BatchLoader(self._here(self.test_set), batch_size=self.batch_size)

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


def _is_path(value: Any) -> bool:
    return bool(value) and b"\0" not in os.fsencode(str(os.fspath(value)))


def _images(files: dict[str, bytes], part: str) -> Tensor:
    return parse_idx(files[f"{part}-images-idx3-ubyte"]).unsqueeze(1)


def _labels(files: dict[str, bytes], part: str) -> Tensor:
    return parse_idx(files[f"{part}-labels-idx1-ubyte"]).long()
