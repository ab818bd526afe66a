"""The table of data sets, and their checksums compared with those that others publish."""

import gzip
import hashlib
import re
import typing
import urllib.request
from pathlib import Path

import pytest
import torchvision

from mnist_lightning import MNISTDataModule
from mnist_lightning.data.datasets import DATASETS, NAMES, SAMPLE, select_dataset
from mnist_lightning.errors import InvalidArgumentError

FASHION_MNIST_OF_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MD5_OF_MNIST = dict(torchvision.datasets.MNIST.resources)
MD5_OF_FASHION_MNIST = dict(torchvision.datasets.FashionMNIST.resources)


def test_every_checksum_is_a_different_sha256() -> None:
    checksums = {
        file.sha256 for dataset in [*DATASETS.values(), SAMPLE] for file in dataset.files.values()
    }
    assert len(checksums) == 5 * 4 + 1  # EMNIST's six splits are in one archive
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)


def test_offers_every_data_set_and_split_of_torchvision() -> None:
    options = typing.get_type_hints(MNISTDataModule.__init__)
    assert typing.get_args(options["dataset"]) == NAMES
    assert NAMES == ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST")
    (splits, _) = typing.get_args(options["emnist_split"])
    assert typing.get_args(splits) == torchvision.datasets.EMNIST.splits


def test_archives_have_the_names_and_places_that_torchvision_lists() -> None:
    listed = {
        f"{mirror}{name}"
        for source in ("FashionMNIST", "KMNIST")
        for mirror in getattr(torchvision.datasets, source).mirrors
        for name, _ in getattr(torchvision.datasets, source).resources
    }
    listed |= {
        url for part in ("train", "test") for url, _ in torchvision.datasets.QMNIST.resources[part]
    }
    listed |= {torchvision.datasets.EMNIST.url}
    found = {
        f"{mirror}{name if Path(name).suffix else f'{name}.gz'}"
        for dataset in DATASETS.values()
        if dataset.folder != "MNIST"
        for mirror in dataset.mirrors
        for name in dataset.files
    }
    assert found == listed


@pytest.mark.parametrize(
    ("name", "class_names"),
    [
        ("MNIST", "0123456789"),
        ("QMNIST", "0123456789"),
        ("KMNIST", ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]),
        ("EMNIST digits", "0123456789"),
        ("EMNIST mnist", "0123456789"),
        ("EMNIST letters", "abcdefghijklmnopqrstuvwxyz"),
        ("EMNIST balanced", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
        ("EMNIST bymerge", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"),
        ("EMNIST byclass", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
    ],
)
def test_class_names(name: str, class_names: str | list[str]) -> None:
    assert DATASETS[name].class_names == tuple(class_names)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("NIST", None, r"^dataset is 'NIST'; it must be one of MNIST, FashionMNIST, KMNIST, QMN"),
        ("EMNIST", "all", r"^emnist_split is 'all'; it must be one of byclass, bymerge, balanced"),
        ("MNIST", "letters", r"^emnist_split is 'letters'; only EMNIST has splits; select it wit"),
    ],
)
def test_rejects_an_unknown_data_set_or_split(name: str, split: str | None, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        select_dataset(name, split)


def test_checksums_of_mnist_are_of_the_archives_in_torchvision(mnist_mirror: str) -> None:
    for name, expected in DATASETS["MNIST"].files.items():
        with urllib.request.urlopen(f"{mnist_mirror.rstrip('/')}/{name}.gz") as response:
            archive = response.read()
        assert hashlib.md5(archive).hexdigest() == MD5_OF_MNIST[f"{name}.gz"]
        content = gzip.decompress(archive)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == expected


@pytest.mark.skipif(
    not FASHION_MNIST_OF_DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_checksums_of_fashion_mnist_are_of_the_archives_in_torchvision() -> None:
    times = (1504176606, 1504176606, 1504176627, 1504176627)  # in the authors' archives
    for (name, expected), time in zip(DATASETS["FashionMNIST"].files.items(), times, strict=True):
        archive = (FASHION_MNIST_OF_DEBIAN / f"{name}.gz").read_bytes()
        # Debian's archives differ from the authors' in the header only: it has another time and
        # lacks the name of the file.
        header = b"\x1f\x8b\x08\x08" + time.to_bytes(4, "little") + b"\0\3" + name.encode() + b"\0"
        md5 = hashlib.md5(header + archive[10:]).hexdigest()
        assert md5 == MD5_OF_FASHION_MNIST[f"{name}.gz"]
        content = gzip.decompress(archive)
        assert (hashlib.sha256(content).hexdigest(), len(content)) == expected
