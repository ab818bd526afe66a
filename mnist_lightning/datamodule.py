"""MNIST as a LightningDataModule: download, split, scale, and serve in batches.

Lightning calls ``prepare_data`` in one process of each machine, then ``setup`` in every process,
then the method that returns the loader of the stage.
"""

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import nn
from torch.utils.data import DataLoader
from typing_extensions import override

from mnist_lightning.augment import compose
from mnist_lightning.data.datasets import (
    FALLBACK_NOTICE,
    SAMPLE,
    SAMPLE_DIR,
    EMNISTSplit,
    select_dataset,
)
from mnist_lightning.data.download import fetch, resolve_mirrors
from mnist_lightning.data.idx import load_part
from mnist_lightning.data.in_memory import Batch, BatchLoader, ImageLoader, IndexedImages
from mnist_lightning.data.local_files import load
from mnist_lightning.errors import (
    InvalidArgumentError,
    MissingDataError,
    check_choice,
    check_integer,
    check_number,
    check_path,
    check_paths,
)
from mnist_lightning.pictures.dataset import PictureDigits

log = logging.getLogger(__name__)


class MNISTDataModule(LightningDataModule):
    """The MNIST digits, scaled to [0, 1] and split into training, validation and test images.

    The loaders yield ``(images, labels)``: float32 ``(N, 1, 28, 28)`` in [0, 1] and int64 ``(N,)``,
    and for ``predict`` the images alone. The official 10,000 test images are used only by ``test``
    and ``predict``. Other data sets in MNIST's format are available through ``dataset``.

    Args:
        data_dir: Folder with MNIST's four files, extracted or compressed (gzip or zip), under any
            names, in the folder, its subfolders or torchvision's ``MNIST/raw``. Missing files are
            downloaded into it.
        batch_size: Number of images in a training batch, over all devices; batches for validation
            and test are four times as large, on each device.
        val_fraction: Fraction of the training images held out for validation.
        split_seed: Seed of this split, independent of the seed of the run.
        source: ``auto`` uses the files in ``data_dir``, or else downloads them, or else falls back
            to the bundled sample of 5,000 digits with a warning. ``mnist`` never uses the sample,
            ``sample`` always does. Only MNIST has a sample.
        mirrors: Base URLs (http, https, file) to try before the built-in ones, as a list or
            separated by commas; default: the environment variable ``MNIST_MIRRORS`` (for other
            data sets ``FASHIONMNIST_MIRRORS`` and so on).
        augment: Module that randomly changes the images of a training batch, on the device of the
            batch: ``RandomDistortion``, a transform of ``torchvision.transforms.v2``, your own
            module, or a list of them. Most transforms of torchvision sample one random amount for
            all images of a batch, unless they are in a ``PerImage``.
        images: Your own pictures for ``predict``, instead of the test images: files, folders, or
            patterns such as ``scans/*.png``. Each is converted to MNIST's format.
        dataset: ``MNIST``; ``FashionMNIST``, clothes (Xiao et al., 2017); ``KMNIST``, Japanese
            characters (Clanuwat et al., 2018); ``QMNIST``, MNIST with 60,000 test digits (Yadav and
            Bottou, 2019); or ``EMNIST``, letters and digits (Cohen et al., 2017), one archive of
            0.5 GB.
        emnist_split: The split of EMNIST, by default ``balanced``: 47 classes with equally many
            images.

    Raises:
        InvalidArgumentError: If an argument is invalid.

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
        augment: nn.Module | list[nn.Module] | None = None,
        images: list[str] | str | None = None,
        dataset: Literal["MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST"] = "MNIST",
        emnist_split: EMNISTSplit | None = None,
    ) -> None:
        super().__init__()
        images = [images] if isinstance(images, str) else images
        sources = ("auto", "mnist", "sample") if dataset == "MNIST" else ("auto", "mnist")
        check_path("data_dir", data_dir, "it must be the path of a folder")
        check_integer("batch_size", batch_size, 1, 2**31 - 1)
        check_number("val_fraction", val_fraction, above=0, below=1, hint="for example 0.2")
        check_integer("split_seed", split_seed, 0, 2**63 - 1)
        check_choice("source", source, sources)
        check_paths("images", images, "it must name files, folders or patterns")
        if images and dataset not in ("MNIST", "QMNIST"):  # the format of converted pictures
            requirement = f"it requires MNIST or QMNIST, not {dataset}"
            raise InvalidArgumentError("images", images, requirement)
        self.dataset = select_dataset(dataset, emnist_split)
        data_dir = str(data_dir)  # checkpoints must contain plain values only
        # URLs may contain passwords, and modules are not plain values.
        self.save_hyperparameters(ignore=["mirrors", "augment", "images"])
        self.data_dir = Path(data_dir).expanduser()
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.source = source
        self.mirrors = resolve_mirrors(mirrors, self.dataset)
        self.augment = compose(augment)
        self.images = images
        self.class_names = self.dataset.class_names
        self.fallback_reason: str | None = None
        """Why the sample is used although MNIST was wanted; None if it is not."""
        self.pictures: PictureDigits | None = None
        """Your own pictures, if ``predict`` uses them."""

    @override
    def prepare_data(self) -> None:
        """Downloads the files that are missing in ``data_dir``.

        Raises:
            DataError: If ``data_dir`` cannot be read or written.
            MissingDataError: If the files cannot be downloaded and the sample is not allowed.
        """
        predicts_pictures = self.images and self.trainer and self.trainer.predicting
        is_read = hasattr(self, "train_set")  # in an earlier stage
        if self.source == "sample" or predicts_pictures or is_read:
            return
        try:
            fetch(self.data_dir, self.dataset, self.mirrors)
        except MissingDataError as error:
            if not self._allows_sample:
                hint = ", or use --data.source sample" if self.dataset.name == "MNIST" else ""
                raise MissingDataError(
                    f"cannot download {self.dataset.name} ({error}); pass a mirror with "
                    f"--data.mirrors, or copy {', '.join(self.dataset.files)} into the folder "
                    f"{self.data_dir}{hint}"
                ) from error
            self.fallback_reason = str(error)  # setup finds a reason in the other processes

    @override
    def setup(self, stage: str) -> None:
        """Reads, verifies and splits the images; for your own pictures, finds their files.

        Raises:
            DataError: If ``data_dir`` cannot be read, or ``images`` matches no picture.
            MissingDataError: If files are missing in ``data_dir`` and the sample is not allowed.
        """
        self.pictures = None
        if self.images and stage == "predict":
            self.pictures = PictureDigits(self.images)
            return
        if hasattr(self, "train_set"):  # read and split in an earlier stage
            return
        images, self.test_set = self._load_parts()
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(images), generator=generator)
        val_size = round(self.val_fraction * len(images))
        if not 0 < val_size < len(images):
            requirement = f"each side of the split of {len(images):,} images needs at least one"
            raise InvalidArgumentError("val_fraction", self.val_fraction, requirement)
        self.val_set = images.subset(order[:val_size])
        self.train_set = images.subset(order[val_size:])
        self.train_set.augment = self.augment

    def _load_parts(self) -> tuple[IndexedImages, IndexedImages]:
        """Returns the training and test images of the data set, or else of the sample."""
        dataset = self.dataset
        if self.source != "sample":
            try:
                files = load(self.data_dir, dataset)
                self.source = "mnist"
            except MissingDataError as error:
                if not self._allows_sample:
                    raise
                self.fallback_reason = self.fallback_reason or str(error)
                self.source = "sample"
                log.warning("%s", self.fallback_notice)
        if self.source == "sample":
            dataset, files = SAMPLE, load(SAMPLE_DIR, SAMPLE)
        self.hparams["source"] = self.source  # saved in checkpoints
        return load_part(files, dataset, "train"), load_part(files, dataset, "test")

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        # The images augment themselves: a hook such as on_after_batch_transfer would make Lightning
        # ignore the model's hook of that name.
        images = self._to_device(self.train_set)
        processes = self.trainer.world_size if self.trainer else 1
        return BatchLoader(images, batch_size=self.batch_size_per_process(processes), shuffle=True)

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.val_set)

    @override
    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.test_set)

    @override
    def predict_dataloader(self) -> DataLoader[Any]:
        if self.pictures is not None:
            return DataLoader(self.pictures, batch_size=self.batch_size, collate_fn=torch.cat)
        return ImageLoader(self.test_set, batch_size=self.batch_size)

    def _evaluation_loader(self, images: IndexedImages) -> DataLoader[Batch]:
        sampler = None
        if self.trainer and self.trainer.world_size > 1:  # Lightning's would repeat some images
            sampler = UnrepeatedDistributedSampler(
                images, self.trainer.world_size, self.trainer.global_rank, shuffle=False
            )
        # Without gradients, batches can be four times as large.
        return BatchLoader(self._to_device(images), batch_size=4 * self.batch_size, sampler=sampler)

    def _to_device(self, images: IndexedImages) -> IndexedImages:
        """Returns images on the Trainer's device, so that a GPU holds all of them as bytes."""
        return images.to(self.trainer.strategy.root_device) if self.trainer else images

    def batch_size_per_process(self, processes: int) -> int:
        """Returns the training batch size of each of several processes.

        Raises:
            InvalidArgumentError: If the batch cannot be divided evenly.
        """
        if self.batch_size % processes:
            requirement = f"it must be a multiple of {processes}, the number of processes"
            raise InvalidArgumentError("batch_size", self.batch_size, requirement)
        return self.batch_size // processes

    @property
    def dataset_name(self) -> str:
        """Name of the images for titles and results; final after ``setup``."""
        if self.pictures is not None:
            return "your pictures"
        return SAMPLE.name if self.source == "sample" else self.dataset.name

    @property
    def fallback_notice(self) -> str | None:
        """Why the sample is used, and how to get MNIST; None without a fallback."""
        reason = self.fallback_reason
        return None if reason is None else FALLBACK_NOTICE.format(reason, self.data_dir)

    @property
    def _allows_sample(self) -> bool:
        return self.source != "mnist" and self.dataset.name == "MNIST"
