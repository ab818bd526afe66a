"""Finding and loading weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import Run

from mnist_lightning import MNISTClassifier
from mnist_lightning.errors import CheckpointError
from mnist_lightning.runs import weights as weights_module
from mnist_lightning.runs.weights import Weights, find_weights, read_pretrained


def save(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {}, "epoch": 0} | content, path)
    return path


def checkpoint(root: Path, version: int, name: str) -> Path:
    return root / "lightning_logs" / f"version_{version}" / "checkpoints" / f"{name}.ckpt"


def test_best_and_last_are_from_the_newest_run_with_a_checkpoint(tmp_path: Path) -> None:
    for version in (2, 9, 10):
        save(checkpoint(tmp_path, version, "best"), epoch=version)
        save(checkpoint(tmp_path, version, "last"), epoch=version)
    (tmp_path / "lightning_logs" / "version_11").mkdir()  # of a test, say
    for name in ("best", "last"):
        weights = find_weights(name, tmp_path)
        assert weights.path == checkpoint(tmp_path, 10, name)
        assert weights.epochs == 11


def test_best_falls_back_to_last_if_there_was_no_validation(tmp_path: Path) -> None:
    last = save(checkpoint(tmp_path, 0, "last"))
    assert find_weights("best", tmp_path).path == last


def test_skips_a_damaged_checkpoint_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = save(checkpoint(tmp_path, 0, "best"))
    damaged = save(checkpoint(tmp_path, 1, "best"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    assert find_weights("best", tmp_path).path == older
    assert f"{damaged} is not a checkpoint, or it is truncated" in caplog.text


def test_reads_a_checkpoint_by_its_path(tmp_path: Path) -> None:
    path = save(tmp_path / "any.ckpt", epoch=3)
    weights = find_weights(str(path), tmp_path)
    assert (weights.path, weights.epochs) == (path, 4)


def test_reports_that_no_run_has_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no run in .*lightning_logs has a checkpoint"):
        find_weights("best", tmp_path)


def test_options_are_the_plain_values_that_belong_to_the_weights() -> None:
    content: dict[str, Any] = {
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
    assert Weights("a.ckpt", Path("a.ckpt"), content).options() == {
        "model": {"learning_rate": 0.01, "dropout": 0.3, "num_classes": 10},
        "data": {"source": "sample", "val_fraction": 0.1},
    }
    for content in ({"hyper_parameters": None, "datamodule_hyper_parameters": [1]}, {}):
        options = Weights("a.ckpt", Path("a.ckpt"), content).options()
        assert options == {"model": {}, "data": {}}


def test_weights_before_the_first_step_have_no_epoch() -> None:
    content = {"epoch": 0, "global_step": 0}
    assert Weights("a.ckpt", Path("a.ckpt"), content).epochs == 0
    assert Weights("a.ckpt", Path("a.ckpt"), {"epoch": 0, "global_step": 5}).epochs == 1


@pytest.mark.parametrize(
    "loops", [{}, {"loops": None}, {"loops": {"fit_loop": {}}}, {"loops": {"fit_loop": [1]}}]
)
def test_a_checkpoint_without_the_state_of_its_loops(loops: dict[str, Any]) -> None:
    weights = Weights("a.ckpt", Path("a.ckpt"), {"metrics": {"val/loss": 1.0}, **loops})
    assert not weights.is_within_epoch
    assert weights.plateau_metrics == {}


def test_options_of_a_real_checkpoint(fitted: Run) -> None:
    weights = find_weights("best", fitted.folder.parents[1])
    assert weights.options() == {
        "model": {
            "learning_rate": 0.001,
            "schedule": "constant",
            "weight_decay": 0.0,
            "label_smoothing": 0.0,
            "sam_radius": 0.0,
            "dropout": 0.2,
            "num_classes": 10,
            "batch_norm": False,
        },
        "data": {
            "dataset": "MNIST",
            "source": "sample",
            "val_fraction": 0.2,
            "split_seed": 0,
            "batch_size": 128,
        },
    }


def test_pretrained_weights_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_module.PRETRAINED.stat().st_size < 200_000
    content = read_pretrained()
    weights = content["state_dict"]
    assert sum(value.numel() for value in weights.values()) == 37_610
    assert weights.keys() == MNISTClassifier().state_dict().keys()
    assert "optimizer_states" not in content

    damaged = bytearray(weights_module.PRETRAINED.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "digits.safetensors").write_bytes(damaged)
    monkeypatch.setattr(weights_module, "PRETRAINED", tmp_path / "digits.safetensors")
    with pytest.raises(CheckpointError, match=r"digits\.safetensors is damaged; reinstall"):
        read_pretrained()
    (tmp_path / "digits.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot read"):
        MNISTClassifier.from_pretrained()


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    path = save(tmp_path / "other.ckpt", state_dict={"network.layer.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"other\.ckpt does not match this network; pass the"):
        find_weights(str(path), tmp_path).load_into(MNISTClassifier())


def test_a_custom_network_is_found_in_the_config_of_the_named_run(tmp_path: Path) -> None:
    path = save(checkpoint(tmp_path, 0, "best"))
    config = path.parents[1] / "config.yaml"
    network = {"class_path": "nets.Small", "init_args": {"width": 3}}
    config.write_text(yaml.safe_dump({"model": {"network": network}}))
    assert find_weights("best", tmp_path).options()["model"] == {"network": network}
    assert find_weights(str(path), tmp_path).options()["model"] == {}  # its config is not trusted
    for content in ("model: {network: null}", "[1]", "{", "model: 3"):
        config.write_text(content)
        assert find_weights("best", tmp_path).options()["model"] == {}
