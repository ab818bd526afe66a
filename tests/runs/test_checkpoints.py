"""Finding and reading checkpoints, also those that nobody should trust."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run

from mnist_lightning import MNISTClassifier
from mnist_lightning.errors import CheckpointError
from mnist_lightning.runs import checkpoints


def save(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}, "epoch": 0} | content, path)
    return path


def checkpoint(root: Path, version: int, name: str) -> Path:
    return root / "lightning_logs" / f"version_{version}" / "checkpoints" / f"{name}.ckpt"


def test_best_and_last_are_those_of_the_newest_run_that_has_one(tmp_path: Path) -> None:
    for version in (2, 9, 10):
        save(checkpoint(tmp_path, version, "best"), epoch=version)
        save(checkpoint(tmp_path, version, "last"), epoch=version)
    (tmp_path / "lightning_logs" / "version_11").mkdir()  # of a test, say
    for name in ("best", "last"):
        path, content = checkpoints.find(name, tmp_path)
        assert path == checkpoint(tmp_path, 10, name)
        assert content["epoch"] == 10


def test_a_run_without_validation_has_only_a_last_one(tmp_path: Path) -> None:
    last = save(checkpoint(tmp_path, 0, "last"))
    assert checkpoints.find("best", tmp_path)[0] == last


def test_passes_over_a_damaged_one_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = save(checkpoint(tmp_path, 0, "best"))
    damaged = save(checkpoint(tmp_path, 1, "best"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert checkpoints.find("best", tmp_path)[0] == older
    assert f"{damaged} is no checkpoint, or not a whole one" in caplog.text


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "any.ckpt", epoch=3)
    found, content = checkpoints.find(str(path), tmp_path)
    assert (found, content["epoch"]) == (path, 3)


def test_says_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no run below .*lightning_logs holds a checkpoint"):
        checkpoints.find("best", tmp_path)


def test_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
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
    whole = save(tmp_path / "whole.ckpt", padding=torch.zeros(1000))
    flipped = tmp_path / "flipped.ckpt"
    content = bytearray(whole.read_bytes())
    content[content.index(b"state_dict")] ^= 1
    flipped.write_bytes(content)
    nonsense = tmp_path / "nonsense.ckpt"
    with zipfile.ZipFile(nonsense, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02X\x01\0\0\0\xff.")
        archive.writestr("archive/version", "3")
    for path, message in (
        (tmp_path / "none.ckpt", "does not exist"),
        (tmp_path, "cannot be read .Is a directory"),
        (text, "is no checkpoint"),
        (empty, "is no checkpoint"),
        (other, "is no checkpoint of Lightning"),
        (flipped, "is damaged"),
        (nonsense, "is no checkpoint of Lightning"),
        (weights, "is no checkpoint of Lightning"),
        (save(tmp_path / "odd.ckpt", state_dict=[1]), "is no checkpoint of Lightning"),
        (save(tmp_path / "odd2.ckpt", epoch="1"), "is no checkpoint of Lightning"),
        (tmp_path / "list.pt", "is no checkpoint of Lightning"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            checkpoints.read(path)
        assert str(path) in str(caught.value)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_runs_nothing_that_is_in_a_checkpoint(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = save(tmp_path / "bad.ckpt", hyper_parameters=Malicious(trace))
    with pytest.raises(CheckpointError, match=r"bad\.ckpt is refused"):
        checkpoints.read(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace)))
    assert trace.exists()  # so the test would have seen it


def test_settings_are_the_plain_values_that_belong_to_the_weights() -> None:
    content = {
        "hyper_parameters": {
            "learning_rate": 0.01,
            "dropout": 0.3,
            "num_classes": 10,
            "network": {"class_path": "evil.Module"},
            "_instantiator": "evil.function",
        },
        "datamodule_hyper_parameters": {
            "source": "sample",
            "val_fraction": 0.1,
            "split_seed": {"class_path": "evil.Module"},
            "data_dir": "/elsewhere",
        },
    }
    assert checkpoints.settings(content) == {
        "model": {"learning_rate": 0.01, "dropout": 0.3, "num_classes": 10},
        "data": {"source": "sample", "val_fraction": 0.1},
    }
    nothing = {"hyper_parameters": None, "datamodule_hyper_parameters": [1]}
    assert checkpoints.settings(nothing) == checkpoints.settings({})
    assert checkpoints.settings({}) == {"model": {}, "data": {}}


def test_a_real_checkpoint_has_settings(fitted: Run) -> None:
    content = checkpoints.read(fitted.folder / "checkpoints" / "best.ckpt")
    assert checkpoints.settings(content) == {
        "model": {
            "learning_rate": 0.001,
            "dropout": 0.2,
            "num_classes": 10,
            "batch_norm": False,
        },
        "data": {"dataset": "MNIST", "source": "sample", "val_fraction": 0.2, "split_seed": 0},
    }


def test_the_weights_in_the_package_are_those_that_were_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoints.PRETRAINED.stat().st_size < 200_000
    content = checkpoints.pretrained()
    weights = content["state_dict"]
    assert sum(value.numel() for value in weights.values()) == 37_610
    assert weights.keys() == MNISTClassifier().state_dict().keys()
    assert "optimizer_states" not in content

    damaged = bytearray(checkpoints.PRETRAINED.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "digits.safetensors").write_bytes(damaged)
    monkeypatch.setattr(checkpoints, "PRETRAINED", tmp_path / "digits.safetensors")
    with pytest.raises(CheckpointError, match=r"digits\.safetensors is damaged; install"):
        checkpoints.pretrained()
    (tmp_path / "digits.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        MNISTClassifier.from_pretrained()
