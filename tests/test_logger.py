"""The x axis in TensorBoard."""

from pathlib import Path

from events import steps

from mnist_lightning.logger import EpochTensorBoardLogger


def test_the_step_is_the_number_of_finished_epochs(tmp_path: Path) -> None:
    logger = EpochTensorBoardLogger(tmp_path)
    logger.log_metrics({"train/loss": 1.0, "epoch": 0}, step=375)
    logger.log_metrics({"train/loss": 0.5, "epoch": 1}, step=750)
    logger.log_metrics({"test/loss": 0.4, "epoch": 2}, step=750)  # Lightning, after two epochs
    logger.log_metrics({"lr": 0.1}, step=7)
    logger.finalize("success")
    assert steps(logger.log_dir) == {"train/loss": [1, 2], "test/loss": [2], "lr": [7]}
