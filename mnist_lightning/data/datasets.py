"""The data sets: names, mirrors and classes from torchvision, and SHA-256 checksums.

torchvision itself lists MD5 checksums. The SHA-256 checksums come from

- MNIST, FashionMNIST: the extracted files of archives that have torchvision's MD5 checksums
  (``tests/data/test_datasets.py`` compares them);
- KMNIST, EMNIST: the catalogue of TensorFlow Datasets, for the archives;
- QMNIST: torchvision's prototype of this data set, for the archives.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torchvision

from mnist_lightning.errors import check, check_choice

EMNISTSplit = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]
FALLBACK_NOTICE = """\
WARNING: this is not MNIST but the bundled sample of 5,000 MNIST digits (4,000 for training and \
validation, 1,000 for testing).
  Reason: {}
  To use MNIST, connect to the internet, or copy the four MNIST files into the folder {}, or pass \
a mirror with --data.mirrors or MNIST_MIRRORS."""


class StoredFile(NamedTuple):
    """The expected content of a file.

    Attributes:
        sha256: Checksum, in hexadecimal.
        max_size: Size in bytes, or an upper bound for a compressed file.
    """

    sha256: str
    max_size: int


class IdxDataset(NamedTuple):
    """A data set of training and test images with labels, in four files of IDX format.

    Attributes:
        name: Name for titles and results.
        folder: Name of its folder, and of its class in torchvision.
        files: The stored files by name. One without a suffix is an IDX file and may be compressed;
            one with a suffix is an archive, kept because only its checksum is known.
        idx_files: Names of the IDX files: training images and labels, test images and labels.
        mirrors: Base URLs of the compressed files.
        class_names: A name for each label.
        first_label: The lowest label in the files, which becomes label 0.
        is_transposed: Whether the files contain the columns of each image as rows.
    """

    name: str
    folder: str
    files: Mapping[str, StoredFile]
    idx_files: tuple[str, ...]
    mirrors: tuple[str, ...]
    class_names: tuple[str, ...]
    first_label: int = 0
    is_transposed: bool = False


_SIZES = (47_040_016, 60_008, 7_840_016, 10_008)  # 60,000 training and 10,000 test images


def _from_torchvision(
    source: Any,
    mirrors: Sequence[str],
    checksums: Sequence[str],
    max_sizes: Sequence[int] = _SIZES,
    suffix: str = "",
    name: str | None = None,
) -> IdxDataset:
    """Describes a data set of torchvision.

    Args:
        source: Its class.
        mirrors: Base URLs of its archives.
        checksums: SHA-256 checksums of its files.
        max_sizes: Maximum sizes of its files, in bytes.
        suffix: ``.gz`` if the checksums are those of the archives.
        name: Name for titles and results; default: that of the class.
    """
    resources = source.resources
    if isinstance(resources, dict):  # QMNIST lists them by part
        resources = resources["train"] + resources["test"]
    idx_files = [url.rpartition("/")[2].removesuffix(".gz") for url, _ in resources]
    return IdxDataset(
        name=name or source.__name__,
        folder=source.__name__,
        files={
            f"{file}{suffix}": StoredFile(checksum, size)
            for file, checksum, size in zip(idx_files, checksums, max_sizes, strict=True)
        },
        idx_files=tuple(idx_files),
        mirrors=tuple(mirrors),
        class_names=tuple(label.partition(" - ")[0] for label in source.classes),  # "0 - zero"
    )


# LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
_MNIST = _from_torchvision(
    torchvision.datasets.MNIST,
    # The authors' server, torchvision's second mirror, no longer has the files.
    (torchvision.datasets.MNIST.mirrors[0], "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)
# The bundled sample: see sample/README.md.
SAMPLE_DIR = Path(__file__).parent / "sample"
SAMPLE = _from_torchvision(
    torchvision.datasets.MNIST,
    (),
    (
        "510d9b2150a9b15d4ed3acc0800bca66ef3619305bfd95ff7eb7ae104754e132",
        "78fb13b0627819c584eaaad56a25dfeda627f4ca19639ec84560f91dca8fce31",
        "2b07dd296bb41115fa6116fe2831b1a6938996dddeaac25048a25d47078cb1b3",
        "67095435aecd683d1ffce25a17ac976172b04004feea12b3bedc299849fbcee2",
    ),
    max_sizes=(3_136_016, 4_008, 784_016, 1_008),
    name="MNIST sample",
)
# Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
# Algorithms", 2017. The server supports http only.
_FASHION_MNIST = _from_torchvision(
    torchvision.datasets.FashionMNIST,
    torchvision.datasets.FashionMNIST.mirrors,
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)
# Clanuwat and others, "Deep Learning for Classical Japanese Literature", 2018. The server supports
# http only.
_KMNIST = _from_torchvision(
    torchvision.datasets.KMNIST,
    torchvision.datasets.KMNIST.mirrors,
    (
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
    suffix=".gz",
)
# Yadav and Bottou, "Cold Case: The Lost MNIST Digits", 2019: MNIST's training digits, and 60,000
# test digits of which the first 10,000 are MNIST's.
_QMNIST = _from_torchvision(
    torchvision.datasets.QMNIST,
    (torchvision.datasets.QMNIST.resources["train"][0][0].rpartition("/")[0] + "/",),
    (
        "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
        "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
        "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
        "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
    ),
    max_sizes=(47_040_016, 1_920_012, 47_040_016, 1_920_012),
    suffix=".gz",
)


def full_name(dataset: str, emnist_split: str | None) -> str:
    """Returns the name of a data set with its split, by default ``balanced`` for EMNIST."""
    return f"EMNIST {emnist_split or 'balanced'}" if dataset == "EMNIST" else dataset


def _emnist(split: str) -> IdxDataset:
    """Describes a split of EMNIST (Cohen, Afshar, Tapson and van Schaik, 2017).

    All splits are in one archive. Its images are transposed, and the labels of the letters start
    at 1.
    """
    mirror, _, archive = torchvision.datasets.EMNIST.url.rpartition("/")
    checksum = "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"
    first_label = 1 if split == "letters" else 0
    return IdxDataset(
        name=full_name("EMNIST", split),
        folder="EMNIST",
        files={archive: StoredFile(checksum, 561_753_746)},
        idx_files=tuple(
            f"emnist-{split}-{part}-{kind}-ubyte"
            for part in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ),
        mirrors=(f"{mirror}/",),
        class_names=tuple(torchvision.datasets.EMNIST.classes_split_dict[split][first_label:]),
        first_label=first_label,
        is_transposed=True,
    )


DATASETS = {
    dataset.name: dataset
    for dataset in (
        _MNIST,
        _FASHION_MNIST,
        _KMNIST,
        _QMNIST,
        *map(_emnist, torchvision.datasets.EMNIST.splits),
    )
}
NAMES = tuple(dict.fromkeys(dataset.folder for dataset in DATASETS.values()))


def select_dataset(name: str, emnist_split: str | None) -> IdxDataset:
    """Returns a data set by the name of its class in torchvision.

    Args:
        name: One of ``NAMES``.
        emnist_split: The split of EMNIST, by default ``balanced``; None for the other data sets.

    Raises:
        InvalidArgumentError: If there is no such data set or split.
    """
    check_choice("dataset", name, NAMES)
    if name == "EMNIST":
        check_choice("emnist_split", emnist_split or "balanced", torchvision.datasets.EMNIST.splits)
    else:
        requirement = "only EMNIST has splits; select it with dataset EMNIST, or omit the split"
        check("emnist_split", emnist_split, lambda split: split is None, requirement)
    return DATASETS[full_name(name, emnist_split)]
