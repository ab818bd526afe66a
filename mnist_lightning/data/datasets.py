"""The data sets in MNIST's IDX format: names, checksums, mirrors and classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class IdxFile(NamedTuple):
    """The expected content of a file in IDX format.

    Attributes:
        sha256: Checksum of the extracted file, in hexadecimal.
        size: Size of the extracted file, in bytes.
        is_sha256_of_gz: Whether ``sha256`` is the checksum of the ``.gz`` file instead, because
            that of the extracted file is not known.
    """

    sha256: str
    size: int
    is_sha256_of_gz: bool = False


class IdxDataset(NamedTuple):
    """A data set of training and test images with labels, in four files of IDX format.

    Attributes:
        name: Name of the class in torchvision, and of the data set's folder.
        files: The expected content of each file, by name.
        mirrors: Base URLs of the ``.gz`` files.
        class_names: A name for each label.
    """

    name: str
    files: Mapping[str, IdxFile]
    mirrors: tuple[str, ...] = ()
    class_names: tuple[str, ...] = tuple("0123456789")


FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_SIZES = (47_040_016, 60_008, 7_840_016, 10_008)  # 60,000 training and 10,000 test images


def _files(
    *checksums: str, sizes: Sequence[int] = _SIZES, is_sha256_of_gz: bool = False
) -> dict[str, IdxFile]:
    return {
        name: IdxFile(checksum, size, is_sha256_of_gz)
        for name, checksum, size in zip(FILE_NAMES, checksums, sizes, strict=True)
    }


# The bundled sample: see sample/README.md.
SAMPLE_DIR = Path(__file__).parent / "sample"
SAMPLE = IdxDataset(
    "MNIST sample",
    _files(
        "510d9b2150a9b15d4ed3acc0800bca66ef3619305bfd95ff7eb7ae104754e132",
        "78fb13b0627819c584eaaad56a25dfeda627f4ca19639ec84560f91dca8fce31",
        "2b07dd296bb41115fa6116fe2831b1a6938996dddeaac25048a25d47078cb1b3",
        "67095435aecd683d1ffce25a17ac976172b04004feea12b3bedc299849fbcee2",
        sizes=(3_136_016, 4_008, 784_016, 1_008),
    ),
)
FALLBACK_NOTICE = """\
WARNING: this is not MNIST but the bundled sample of 5,000 MNIST digits (4,000 for training and \
validation, 1,000 for testing).
  Reason: {}
  To use MNIST, connect to the internet, or copy the four MNIST files into the folder {}, or pass \
a mirror with --data.mirrors or MNIST_MIRRORS."""
# LeCun, Cortes and Burges, "The MNIST database of handwritten digits". The checksums are of the
# files in the archives whose MD5 checksums torchvision lists; tests/data/test_datasets.py compares.
_MNIST = IdxDataset(
    "MNIST",
    _files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)
# Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
# Algorithms", 2017. The checksums are of the files in the archives whose MD5 checksums the authors
# publish; tests/data/test_datasets.py compares. The server supports http only.
_FASHION_MNIST = IdxDataset(
    "FashionMNIST",
    _files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)
# Clanuwat and others, "Deep Learning for Classical Japanese Literature", 2018. The checksums are
# those of the archives in the catalogue of TensorFlow Datasets. The server supports http only.
_KMNIST = IdxDataset(
    "KMNIST",
    _files(
        "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        is_sha256_of_gz=True,
    ),
    ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)
DATASETS = {dataset.name: dataset for dataset in (_MNIST, _FASHION_MNIST, _KMNIST)}
