"""Parsing the IDX format, and the images and labels of each data set as torchvision parses them."""

import gzip
import hashlib
import io
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from mirror import Files, Server, sending

from mnist_lightning import MNISTDataModule
from mnist_lightning.data.datasets import DATASETS, IdxDataset, StoredFile
from mnist_lightning.data.idx import load_part, parse_idx
from mnist_lightning.errors import MissingDataError


@pytest.mark.parametrize(("part", "prefix"), [("train", "train"), ("test", "t10k")])
def test_loads_the_images_and_labels_of_a_part(files: Files, part: Any, prefix: str) -> None:
    dataset = load_part(files.content, files.dataset, part)
    assert dataset.images.dtype == torch.uint8
    assert dataset.labels.dtype == torch.int64
    assert torch.equal(dataset.images.squeeze(1), files.images[prefix])
    assert bytes(dataset.labels.tolist()) == files.content[f"{prefix}-labels-idx1-ubyte"][8:]


def test_parses_any_shape() -> None:
    content = bytes([0, 0, 8, 3]) + struct.pack(">3i", 1, 2, 300) + bytes(range(200)) * 3
    tensor = parse_idx(content)
    assert (tensor.shape, tensor.dtype) == ((1, 2, 300), torch.uint8)
    assert tensor.flatten().tolist() == list(range(200)) * 3


def test_parses_big_endian_integers() -> None:
    numbers = (1, -2, 3 << 20, 4, 5, 6)
    tensor = parse_idx(
        bytes([0, 0, 12, 2]) + struct.pack(">2i", 2, 3) + struct.pack(">6i", *numbers)
    )
    assert (tensor.shape, tensor.dtype) == ((2, 3), torch.int32)
    assert tensor.flatten().tolist() == list(numbers)


def test_unsigned_bytes_are_not_copied() -> None:
    content = bytearray([0, 0, 8, 1]) + struct.pack(">i", 3) + bytes([1, 2, 3])
    tensor = parse_idx(content)
    content[-1] = 7
    assert tensor.tolist() == [1, 2, 7]


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """Writes an array in IDX format."""
    kind, big_endian = {1: (8, ">u1"), 4: (12, ">i4")}[array.itemsize]
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return header + array.astype(big_endian).tobytes()


def random_content(dataset: IdxDataset, num_classes: int) -> dict[str, bytes]:
    """Returns IDX files in the form of a data set, with a few random images."""
    rng = np.random.default_rng(0)
    contents = {}
    for name, number in zip(dataset.idx_files, (30, 30, 20, 20), strict=True):
        if "images" in name:
            array = rng.integers(256, size=(number, 28, 28), dtype=np.uint8)
        elif name.endswith("int"):  # QMNIST: the first of eight columns is the digit
            array = rng.integers(num_classes, size=(number, 8), dtype=np.int32)
        else:
            labels = dataset.first_label + np.arange(number) % num_classes
            array = labels.astype(np.uint8)
        contents[name] = idx(array)
    return contents


def archive_of(contents: dict[str, bytes]) -> bytes:
    """Returns an archive in the form of EMNIST's."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(content))
        archive.writestr("gzip/emnist-balanced-mapping.txt", "0 48\n")
    return stream.getvalue()


def in_torchvision(dataset: IdxDataset, folder: Path, train: bool) -> tuple[Any, Any]:
    """Returns the images and labels that torchvision's class reads from its own folder."""
    split = {"split": dataset.name.partition(" ")[2]} if dataset.folder == "EMNIST" else {}
    torchvision_class = getattr(torchvision.datasets, dataset.folder)
    parsed = torchvision_class(folder, train=train, **split)
    targets = parsed.targets if parsed.targets.dim() == 1 else parsed.targets[:, 0]
    return parsed.data, targets


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("train", [True, False])
def test_images_and_labels_equal_those_of_torchvision(
    name: str, train: bool, tmp_path: Path
) -> None:
    dataset = DATASETS[name]
    contents = random_content(dataset, len(dataset.class_names))
    raw = tmp_path / dataset.folder / "raw"
    raw.mkdir(parents=True)
    for file, content in contents.items():
        (raw / file).write_bytes(content)
    (archive_name, *_) = dataset.files
    if archive_name.endswith(".zip"):
        stored = {archive_name: archive_of(contents)}
    elif archive_name.endswith(".gz"):
        stored = {f"{file}.gz": gzip.compress(content) for file, content in contents.items()}
    else:
        stored = contents
    assert stored.keys() == dataset.files.keys()
    part = load_part(stored, dataset, "train" if train else "test")
    images, labels = in_torchvision(dataset, tmp_path, train)
    if dataset.folder == "EMNIST":  # torchvision leaves the images transposed
        images = images.mT
    assert torch.equal(part.images.squeeze(1), images)
    assert torch.equal(part.labels, labels - dataset.first_label)
    class_name = dataset.class_names[int(part.labels[3])]
    torchvision_names = (
        getattr(torchvision.datasets, dataset.folder).classes
        if (dataset.folder != "EMNIST")
        else torchvision.datasets.EMNIST.classes_split_dict[name.partition(" ")[2]]
    )
    assert torchvision_names[int(labels[3])].partition(" - ")[0] == class_name


@pytest.fixture
def emnist(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small archive of EMNIST with all splits, instead of the real one."""
    splits = {name: dataset for name, dataset in DATASETS.items() if dataset.folder == "EMNIST"}
    contents: dict[str, bytes] = {}
    for dataset in splits.values():
        contents |= random_content(dataset, len(dataset.class_names))
    archive = archive_of(contents)
    stored = StoredFile(hashlib.sha256(archive).hexdigest(), len(archive))
    for name, dataset in splits.items():
        small = dataset._replace(files={"gzip.zip": stored}, mirrors=())
        monkeypatch.setitem(DATASETS, name, small)
    return archive


@pytest.mark.slow
@pytest.mark.parametrize("split", torchvision.datasets.EMNIST.splits)
def test_downloads_and_reads_every_split_of_emnist(
    split: Any, tmp_path: Path, server: Server, emnist: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/gzip.zip"] = sending(emnist)
    monkeypatch.setenv("EMNIST_MIRRORS", server.url)
    for _ in range(2):
        data = MNISTDataModule(str(tmp_path), dataset="EMNIST", emnist_split=split)
        data.prepare_data()
        data.setup("fit")
    assert server.asked == ["/gzip.zip"]
    assert [path.name for path in (tmp_path / "EMNIST" / "raw").iterdir()] == ["gzip.zip"]
    assert data.dataset_name == f"EMNIST {split}"
    assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (24, 6, 20)
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (24, 1, 28, 28)
    assert 0 <= int(labels.min()) <= int(labels.max()) < len(data.class_names)


@pytest.mark.parametrize(
    "damage",
    [lambda archive: archive[:-1], lambda archive: archive[:500] + b"x" + archive[501:]],
    ids=["truncated", "a byte changed"],
)
def test_a_damaged_archive_of_emnist_is_not_read(
    damage: Any, tmp_path: Path, server: Server, emnist: bytes
) -> None:
    (tmp_path / "gzip.zip").write_bytes(damage(emnist))
    server.answers["/gzip.zip"] = sending(damage(emnist))
    data = MNISTDataModule(str(tmp_path), dataset="EMNIST", mirrors=server.url)
    with pytest.raises(MissingDataError, match=r"gzip.zip is damaged .*gzip.zip: the downloaded"):
        data.prepare_data()
    with pytest.raises(MissingDataError, match=r"gzip.zip is damaged \(wrong checksum for EMNIST"):
        data.setup("fit")
    shutil.rmtree(tmp_path / "EMNIST", ignore_errors=True)
    (tmp_path / "gzip.zip").write_bytes(emnist)
    data.setup("fit")
    assert len(data.test_set) == 20
