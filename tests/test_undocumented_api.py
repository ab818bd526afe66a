"""Every private or undocumented name of other packages that this package uses still exists.

Checked against Lightning 2.6.6 and torch 2.14.
"""

import os
import pkgutil
from pathlib import Path

import pytest
from lightning.pytorch import LightningModule, seed_everything
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import MeanMetric

LAUNCHER = "lightning.pytorch.strategies.launchers.subprocess_script:_SubprocessScriptLauncher"


@pytest.mark.parametrize(
    ("name", "used_by"),
    [
        ("torch.utils.tensorboard:SummaryWriter._get_file_writer", "runs/tensorboard.py"),
        ("torch.utils.tensorboard.summary:hparams", "runs/tensorboard.py"),
        ("lightning.pytorch.overrides.distributed:UnrepeatedDistributedSampler", "datamodule.py"),
        ("lightning.pytorch.callbacks.progress.tqdm_progress:Tqdm", "callbacks/epoch_progress.py"),
        (f"{LAUNCHER}.kill", "cli/processes.py"),
        ("torchmetrics:Metric._apply", "metrics.py"),
    ],
)
def test_name_exists(name: str, used_by: str) -> None:
    assert pkgutil.resolve_name(name), used_by
    assert (Path(__file__).parents[1] / "mnist_lightning" / used_by).exists()


def test_attributes_exist() -> None:
    assert LightningModule()._trainer is None
    assert MeanMetric()._dtype_convert is False


def test_get_file_writer_reopens_a_closed_writer(tmp_path: Path) -> None:
    writer = SummaryWriter(tmp_path)
    writer.close()
    assert writer.file_writer is None  # so the public attribute is not enough
    assert writer._get_file_writer() is not None  # type: ignore[no-untyped-call]
    writer.close()


def test_seed_everything_sets_pl_global_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored after the test
    seed_everything(7, verbose=False)
    assert os.environ["PL_GLOBAL_SEED"] == "7"
