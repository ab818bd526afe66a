"""TensorBoard's event files: the epoch as x axis, hyperparameters, the graph."""

import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import logged_messages
from events import events, graph, hparams, scalars, steps
from torch import Tensor, nn
from trainers import quiet_trainer

from mnist_lightning import MNISTClassifier
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger, purge_after


def attached(model: MNISTClassifier) -> MNISTClassifier:
    """Attaches a model to a Trainer, as it is when Lightning logs its graph."""
    model.trainer = quiet_trainer()
    return model


def test_step_is_the_number_of_completed_epochs(tmp_path: Path) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    logger.log_metrics({"train/loss": 1.0, "epoch": 0}, step=375)
    logger.log_metrics({"train/loss": 0.5, "epoch": 1}, step=750)
    logger.log_metrics(
        {"test/loss": 0.4, "epoch": 2}, step=750
    )  # as Lightning logs it after two epochs
    logger.log_metrics({"lr": 0.1}, step=7)
    logger.finalize("success")
    assert steps(logger.log_dir) == {"train/loss": [1, 2], "test/loss": [2], "lr": [7]}


def test_hyperparameters_are_logged_without_points(tmp_path: Path) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    for _ in range(2):  # Lightning logs them for fit and for test
        logger.log_hyperparams({"rate": 0.1, "kind": "a", "flag": True, "_internal": 1, "no": None})
    logger.finalize("success")
    assert hparams(logger.log_dir) == {"rate": 0.1, "kind": "a", "flag": True}
    assert scalars(logger.log_dir) == {}
    assert "rate: 0.1" in Path(logger.log_dir, "hparams.yaml").read_text()


def test_hyperparameters_and_graph_are_logged_once(tmp_path: Path) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    for _ in range(2):
        logger.log_hyperparams({"rate": 0.1})
        logger.log_graph(attached(MNISTClassifier()))
    logger.finalize("success")
    assert events(logger.log_dir) == [
        "graph_def",
        "tagged_run_metadata",
        "_hparams_/session_start_info",
    ]


def test_hyperparameters_of_the_run_replace_those_of_model_and_data(tmp_path: Path) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    logger.run_hparams = {"seed": 3}
    logger.log_hyperparams({"data_dir": "data"})
    logger.finalize("success")
    assert hparams(logger.log_dir) == {"seed": 3}


def test_metrics_passed_with_hyperparameters_are_logged(tmp_path: Path) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    logger.log_hyperparams({"rate": 0.1}, {"score": 0.5}, 4)
    logger.finalize("success")
    assert scalars(logger.log_dir) == {"score": [(4, 0.5)]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_graph_shows_the_network_and_leaves_the_model_unchanged(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    model = attached(MNISTClassifier().to(dtype).train())
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_graph(model)
        logger.log_graph(model)
    drawn = torch.rand(1)
    logger.finalize("success")
    nodes = graph(logger.log_dir)
    assert len(nodes) == len(set(nodes))
    for layer in (
        "features]/Conv2d[0]",
        "features]/Conv2d[3]",
        "head]/Linear[1]",
        "head]/Linear[4]",
    ):
        assert any(layer in node for node in nodes), layer
    assert model.training
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)  # the random numbers of the run are unchanged


def test_failed_tracing_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Any:
            raise LookupError("no such layer")

    model = attached(MNISTClassifier(Odd()))
    logger = EpochTensorBoardLogger(tmp_path)
    logger.log_graph(model)  # no warning without an example
    assert logged_messages(caplog) == []
    logger.log_graph(model, torch.zeros(1, 1, 28, 28))
    assert logged_messages(caplog) == [
        "TensorBoard shows no graph, because tracing the network failed: no such layer"
    ]
    assert capsys.readouterr().out == ""


def test_points_after_the_resumed_epoch_are_discarded(tmp_path: Path) -> None:
    first = EpochTensorBoardLogger(tmp_path, version="run")
    for epoch in range(3):
        first.log_metrics({"train/loss": 1.0, "epoch": epoch})
    first.finalize("success")
    second = EpochTensorBoardLogger(tmp_path, version="run")
    purge_after(second, 1)
    second.log_metrics({"train/loss": 0.5, "epoch": 1})
    second.finalize("success")
    assert scalars(first.log_dir) == {"train/loss": [(1, 1.0), (2, 0.5)]}


def test_resumed_run_is_read_in_order_after_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time
    for start, hours in ((0, 0), (2, -1), (4, 1), (6, 0)):  # resumed at these epochs
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda hours=hours: clock() + hours * 3600)
            logger = EpochTensorBoardLogger(tmp_path, version="run")
            if start:
                purge_after(logger, start)
            for epoch in range(start, start + 3):  # the last epoch was interrupted
                logger.log_metrics({"train/loss": float(start), "epoch": epoch})
            logger.finalize("success")
    points = [(1, 0), (2, 0), (3, 2), (4, 2), (5, 4), (6, 4), (7, 6), (8, 6), (9, 6)]
    assert scalars(logger.log_dir) == {"train/loss": points}
    assert len(list(Path(logger.log_dir).glob("events.*"))) == 4
