"""Reading checkpoints without trusting them, and saving them atomically."""

import errno
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_lightning.errors import CheckpointError
from mnist_lightning.runs.checkpoints import RunCheckpointIO, read_checkpoint


def save(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}, "epoch": 0} | content, path)
    return path


def test_reports_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    text = tmp_path / "text.ckpt"
    text.write_text("hello")
    empty = tmp_path / "empty.ckpt"
    empty.touch()
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a", "b")
    weights = tmp_path / "weights.pt"
    torch.save({"layer.weight": torch.zeros(1)}, weights)
    torch.save([1], tmp_path / "list.pt")
    intact = save(tmp_path / "intact.ckpt", padding=torch.zeros(1000))
    flipped = tmp_path / "flipped.ckpt"
    content = bytearray(intact.read_bytes())
    content[content.index(b"state_dict")] ^= 1
    flipped.write_bytes(content)
    nonsense = tmp_path / "nonsense.ckpt"
    with zipfile.ZipFile(nonsense, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02X\x01\0\0\0\xff.")
        archive.writestr("archive/version", "3")
    for path, message in (
        (tmp_path / "none.ckpt", "does not exist"),
        (tmp_path, "cannot read .*(Is a directory|Permission denied)"),
        (text, "is not a checkpoint"),
        (empty, "is not a checkpoint"),
        (other, "is not a Lightning checkpoint"),
        (flipped, "is damaged"),
        (nonsense, "is not a Lightning checkpoint"),
        (weights, "is not a Lightning checkpoint"),
        (save(tmp_path / "odd.ckpt", state_dict=[1]), "is not a Lightning checkpoint"),
        (save(tmp_path / "odd2.ckpt", epoch="1"), "is not a Lightning checkpoint"),
        (tmp_path / "list.pt", "is not a Lightning checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_executes_no_code_in_a_checkpoint(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = save(tmp_path / "bad.ckpt", hyper_parameters=Malicious(trace))
    with pytest.raises(CheckpointError, match=r"bad\.ckpt was not loaded"):
        read_checkpoint(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace)))
    assert trace.exists()  # so the test would have seen it


def test_checkpoints_of_the_run_replace_the_previous_ones_on_commit(tmp_path: Path) -> None:
    checkpoint_io = RunCheckpointIO()
    checkpoint_io.deferred = {tmp_path / "best.ckpt", tmp_path / "last.ckpt"}
    for epoch in (0, 1):
        for name in ("best", "last", "user"):
            checkpoint_io.save_checkpoint({"epoch": epoch}, tmp_path / f"{name}.ckpt")
        epochs = {
            path.stem: torch.load(path, weights_only=True)["epoch"]
            for path in tmp_path.glob("*.ckpt")
        }
        expected = {"user": 0} if epoch == 0 else {"user": 1, "best": 0, "last": 0}
        assert epochs == expected  # until the commit
        checkpoint_io.commit()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True) == {"epoch": 1}
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt", "user.ckpt"}
    checkpoint_io.commit()  # nothing is left to commit


def test_failed_write_leaves_the_previous_checkpoint_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_io, path = RunCheckpointIO(), tmp_path / "user.ckpt"
    checkpoint_io.save_checkpoint({"epoch": 0}, path)

    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"user\.ckpt \(No space left on device\); the prev"):
        checkpoint_io.save_checkpoint({"epoch": 1}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["user.ckpt"]


def test_remote_checkpoints_are_saved_by_lightning() -> None:
    checkpoint_io, url = RunCheckpointIO(), "memory://bucket/last.ckpt"
    checkpoint_io.save_checkpoint({"epoch": 3}, url)
    assert checkpoint_io.load_checkpoint(url) == {"epoch": 3}
    checkpoint_io.remove_checkpoint(url)
    with pytest.raises(FileNotFoundError):
        checkpoint_io.load_checkpoint(url)


def test_commit_repeats_a_refused_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace = tmp_path / "last.ckpt", Path.replace
    checkpoint_io = RunCheckpointIO()
    checkpoint_io.deferred.add(path)
    checkpoint_io.save_checkpoint({"state_dict": {}, "epoch": 7}, path)

    def refuse_once(source: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(Path, "replace", refuse_once)
    checkpoint_io.commit()
    assert read_checkpoint(path)["epoch"] == 7
