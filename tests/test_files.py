"""Atomic writing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_lightning.files import write_atomically


def test_creates_and_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", memoryview(b"second")):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def ctrl_c(_: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fail", [full_disk, ctrl_c])
def test_leaves_the_previous_file_and_nothing_else_if_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[int], None]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, b"content")
    assert caught.value.filename == str(path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left on device") as caught_full_disk:
        write_atomically(tmp_path / "file", b"content")
    assert caught_full_disk.value.filename == str(tmp_path / "file")


def refuse_renames(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Makes renaming fail at first, as on Windows while a virus scanner has the file open."""
    replace, refusals = Path.replace, iter(range(times))

    def replace_later(source: Path, target: Path) -> Path:
        if next(refusals, None) is not None:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", replace_later)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses in seconds, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr("mnist_lightning.files.time.sleep", seconds.append)
    return seconds


def test_a_refused_rename_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    refuse_renames(monkeypatch, times=3)
    write_atomically(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]
    assert len(pauses) == 3


def test_a_rename_that_is_refused_for_a_second_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    refuse_renames(monkeypatch, times=1000)
    with pytest.raises(PermissionError) as caught:
        write_atomically(path, b"after")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    assert sum(pauses) == pytest.approx(1)
