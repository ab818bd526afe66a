"""Reading the files of a data set from a folder, and verifying them."""

import gzip
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
from command_line import POSIX
from mirror import Files, Server, sending

from mnist_lightning.data import download, local_files
from mnist_lightning.data.datasets import DATASETS, StoredFile
from mnist_lightning.errors import DataError, MissingDataError


@pytest.mark.parametrize("place", ["MNIST/raw", "."])
@pytest.mark.parametrize("compressed", [False, True])
def test_reads_existing_files_without_writing(
    tmp_path: Path, files: Files, place: str, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / place, compressed)

    def fail(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    monkeypatch.setattr(download, "write_atomically", fail)
    download.fetch(tmp_path, files.dataset, ["http://127.0.0.1:1/"])
    assert local_files.load(tmp_path, files.dataset) == files.content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"",
    ],
    ids=["truncated", "too long", "a bit flipped", "empty"],
)
def test_names_a_damaged_file_and_downloads_it_again(
    tmp_path: Path, files: Files, server: Server, damage: Callable[[bytes], bytes]
) -> None:
    files.write(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    check_that_the_damaged_file_is_downloaded(path, files, server)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda archive: archive[:-1],
        lambda archive: archive[:30],
        lambda archive: archive[:20] + bytes([archive[20] ^ 255]) + archive[21:],
        lambda archive: b"x",
        lambda archive: b"",
        lambda archive: gzip.compress(b"other content"),
    ],
    ids=["truncated", "cut in half", "a byte changed", "not gzip", "empty", "other content"],
)
def test_names_a_damaged_archive_and_downloads_it_again(
    tmp_path: Path, files: Files, server: Server, damage: Callable[[bytes], bytes]
) -> None:
    files.write(tmp_path, compressed=True)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    check_that_the_damaged_file_is_downloaded(path, files, server)


def check_that_the_damaged_file_is_downloaded(path: Path, files: Files, server: Server) -> None:
    folder = path.parent
    with pytest.raises(MissingDataError, match=f"^{re.escape(str(path))} is damaged [^;]*$"):
        local_files.load(folder, files.dataset)
    with pytest.raises(MissingDataError, match=f"^{re.escape(str(path))} is damaged [^;]*$"):
        download.fetch(folder, files.dataset, [])
    server.serve(files.content)
    download.fetch(folder, files.dataset, [server.url])
    assert local_files.load(folder, files.dataset) == files.content
    assert server.asked == ["/train-labels-idx1-ubyte.gz"]  # the other files were intact


def test_lists_what_it_found_and_what_it_expected(tmp_path: Path, files: Files) -> None:
    with pytest.raises(MissingDataError, match=f"^{re.escape(str(tmp_path))} contains no files$"):
        local_files.load(tmp_path, files.dataset)
    first, *others = files.dataset.files
    (tmp_path / first).write_bytes(files.content[first])
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "train.csv").write_text("label")
    expected = (
        f"{tmp_path} contains {Path('kaggle', 'train.csv')}, {first}, but not the content of "
    )
    with pytest.raises(MissingDataError) as caught:
        local_files.load(tmp_path, files.dataset)
    assert str(caught.value) == expected + ", ".join(others)
    with pytest.raises(MissingDataError) as caught:
        download.fetch(tmp_path, files.dataset, [])
    assert str(caught.value) == expected + ", ".join(others)
    for i in range(20):
        (tmp_path / f"a{i:02}").write_text("other")
    with pytest.raises(MissingDataError, match="a06, a07, 14 other files, but not"):
        local_files.load(tmp_path, files.dataset)


def zipped(names: Iterable[str], contents: Iterable[bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zip(names, contents, strict=True):
            archive.writestr(name, content)
    return file.getvalue()


Layout = Callable[[Mapping[str, bytes]], dict[str, bytes]]
LAYOUTS: dict[str, Layout] = {
    "dotted": lambda files: {name.replace("-idx", ".idx"): files[name] for name in files},
    "dotted and compressed": lambda files: {
        f"{name.replace('-idx', '.idx')}.gz": gzip.compress(files[name]) for name in files
    },
    "downloaded twice": lambda files: {
        f"{name} (1).gz": gzip.compress(files[name]) for name in files
    },
    "extracted by a browser": lambda files: {f"{name}.gz": files[name] for name in files},
    "compressed without a suffix": lambda files: {
        name: gzip.compress(files[name]) for name in files
    },
    "a folder for each file": lambda files: {
        f"{name}/{name.replace('-idx', '.idx')}": files[name] for name in files
    },
    "in a folder": lambda files: {f"archive/{name}": files[name] for name in files},
    "in torchvision's folder": lambda files: {
        f"MNIST/raw/{name.upper()}": files[name] for name in files
    },
    "an archive": lambda files: {"archive.zip": zipped(files, files.values())},
    "an archive of compressed files": lambda files: {
        "archive.zip": zipped(files, map(gzip.compress, files.values()))
    },
    "an archive for each file": lambda files: {
        f"{name}.zip": zipped([name], [files[name]]) for name in files
    },
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_uses_the_right_content_whatever_its_name(
    tmp_path: Path, files: Files, layout: Layout
) -> None:
    for name, content in layout(files.content).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b")
    # A name that is marked as UTF-8 and is not.
    foreign = zipped(["ä.txt"], [b"x"]).replace("ä".encode(), b"\xff\xfe")
    (tmp_path / "foreign.zip").write_bytes(foreign)
    (tmp_path / "nested.zip").write_bytes(zipped(["a.zip"], [zipped(["b"], [b"x"])]))
    before = sorted(tmp_path.rglob("*"))
    assert download.fetch(tmp_path, files.dataset, ["http://127.0.0.1:1/"]) == files.content
    assert local_files.load(tmp_path, files.dataset) == files.content
    assert sorted(tmp_path.rglob("*")) == before


def test_finds_renamed_archives_of_which_only_the_checksum_is_known(
    tmp_path: Path, files: Files
) -> None:
    archives = {f"{file}.gz": gzip.compress(content) for file, content in files.content.items()}
    table = {
        file: StoredFile(hashlib.sha256(archive).hexdigest(), len(archive))
        for file, archive in archives.items()
    }
    for file, archive in archives.items():
        (tmp_path / file.replace(".gz", "(2).gz")).write_bytes(archive)
    dataset = DATASETS["KMNIST"]._replace(files=table)
    assert local_files.load(tmp_path, dataset) == archives


def test_an_intact_copy_makes_up_for_a_damaged_one(tmp_path: Path, files: Files) -> None:
    files.write(tmp_path / "MNIST" / "raw")
    files.write(tmp_path, compressed=True)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"x")
    assert local_files.load(tmp_path, files.dataset) == files.content


def test_says_that_a_file_cannot_be_read(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path)

    def fail(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(DataError, match=r"ubyte cannot be read \(Permission denied\); choose ano"):
        local_files.load(tmp_path, files.dataset)


@POSIX
def test_ignores_pipes_and_folders_with_the_names_of_files(tmp_path: Path, files: Files) -> None:
    files.write(tmp_path, compressed=True)
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").mkdir()
    assert local_files.load(tmp_path, files.dataset) == files.content


def test_does_not_extract_a_gzip_bomb(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        content = read(self, size)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    files.write(tmp_path)
    name = "t10k-labels-idx1-ubyte"
    (tmp_path / name).unlink()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(bytes(1 << 26)))
    with pytest.raises(DataError, match="damaged"):
        local_files.load(tmp_path, files.dataset)
    assert sizes == [files.dataset.files[name].max_size + 1]


def test_does_not_extract_other_files_in_an_archive(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*files.content, "video.mp4"]
    content = zipped(names, [*files.content.values(), bytes(1 << 20)])
    (tmp_path / "archive.zip").write_bytes(content)
    extracted = []
    open_member = zipfile.ZipFile.open

    def record(self: zipfile.ZipFile, member: zipfile.ZipInfo, *args: Any) -> IO[bytes]:
        extracted.append(member.filename)
        return open_member(self, member, *args)

    monkeypatch.setattr(zipfile.ZipFile, "open", record)
    assert local_files.load(tmp_path, files.dataset) == files.content
    assert set(extracted) == set(files.content)


@pytest.mark.parametrize("name", ["KMNIST", "QMNIST"])
def test_keeps_and_verifies_archives_if_only_their_checksums_are_known(
    tmp_path: Path, files: Files, server: Server, name: str
) -> None:
    archives = {f"{file}.gz": gzip.compress(content) for file, content in files.content.items()}
    table = {
        file: StoredFile(hashlib.sha256(archive).hexdigest(), len(archive))
        for file, archive in archives.items()
    }
    dataset = DATASETS[name]._replace(files=table)
    for file, archive in archives.items():
        server.answers[f"/{file}"] = sending(archive)
    files.write(tmp_path)  # extracted files, which cannot be verified
    with pytest.raises(
        MissingDataError, match=r"but not the content of train-images-idx3-ubyte\.gz"
    ):
        local_files.load(tmp_path, dataset)
    assert download.fetch(tmp_path, dataset, [server.url]) == archives
    raw = tmp_path / name / "raw"
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == archives
    assert local_files.load(tmp_path, dataset) == archives
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(MissingDataError, match=rf"is damaged \(wrong checksum for {name}\)"):
        local_files.load(tmp_path, dataset)
