"""The checksums of the data sets, compared with those that others publish."""

import gzip
import hashlib
import re
import urllib.request
from pathlib import Path

import pytest

from mnist_lightning.data.datasets import DATASETS, FILE_NAMES, SAMPLE

FASHION_MNIST_OF_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def test_every_checksum_is_a_different_sha256() -> None:
    datasets = [*DATASETS.values(), SAMPLE]
    checksums = [file.sha256 for dataset in datasets for file in dataset.files.values()]
    assert len({*checksums}) == 16
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)


def test_only_the_checksums_of_kmnist_are_of_archives() -> None:
    has_checksums_of_archives = {
        name: any(file.is_sha256_of_gz for file in dataset.files.values())
        for name, dataset in DATASETS.items()
    }
    assert has_checksums_of_archives == {"MNIST": False, "FashionMNIST": False, "KMNIST": True}


def test_every_class_has_a_name() -> None:
    assert [len({*dataset.class_names}) for dataset in DATASETS.values()] == [10, 10, 10]


def test_checksums_of_mnist_are_of_the_archives_in_torchvision(mnist_mirror: str) -> None:
    md5_checksums = (  # torchvision.datasets.MNIST.resources
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )
    for name, md5 in zip(FILE_NAMES, md5_checksums, strict=True):
        with urllib.request.urlopen(f"{mnist_mirror.rstrip('/')}/{name}.gz") as response:
            archive = response.read()
        assert hashlib.md5(archive).hexdigest() == md5
        content = gzip.decompress(archive)
        assert hashlib.sha256(content).hexdigest() == DATASETS["MNIST"].files[name].sha256


@pytest.mark.skipif(
    not FASHION_MNIST_OF_DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_checksums_of_fashion_mnist_are_of_the_archives_of_its_authors() -> None:
    times_and_md5_checksums = (  # https://github.com/zalandoresearch/fashion-mnist
        (1504176606, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (1504176606, "25c81989df183df01b3e8a0aad5dffbe"),
        (1504176627, "bef4ecab320f06d8554ea6380940ec79"),
        (1504176627, "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    for name, (time, md5) in zip(FILE_NAMES, times_and_md5_checksums, strict=True):
        archive = (FASHION_MNIST_OF_DEBIAN / f"{name}.gz").read_bytes()
        # Debian's archives differ from the authors' in the header only: it has another time and
        # lacks the name of the file.
        header = b"\x1f\x8b\x08\x08" + time.to_bytes(4, "little") + b"\0\3" + name.encode() + b"\0"
        assert hashlib.md5(header + archive[10:]).hexdigest() == md5
        content = gzip.decompress(archive)
        assert hashlib.sha256(content).hexdigest() == DATASETS["FashionMNIST"].files[name].sha256
