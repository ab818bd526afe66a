"""Several processes: errors of their connection, and a rejected option."""

import pytest
from torch import distributed, nn
from trainers import quiet_trainer

from mnist_lightning import DigitCNN
from mnist_lightning.cli.compatibility import check_normalization
from mnist_lightning.cli.processes import is_connection_lost
from mnist_lightning.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("message", "is_lost"),
    [
        ("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection closed", True),
        (r"[C:\pytorch\third_party\gloo\gloo\transport\uv\libuv.h:598] connection reset", True),
        ("the igloo is closed", False),
    ],
)
def test_recognizes_errors_of_the_connection(message: str, is_lost: bool) -> None:
    assert is_connection_lost(RuntimeError(message)) == is_lost


def test_torch_without_distributed_has_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "is_available", lambda: False)
    monkeypatch.delattr(distributed, "DistError")
    assert not is_connection_lost(RuntimeError("[/gloo/pair.cc:537] Connection closed"))


def test_normalization_without_a_scale_cannot_be_synchronized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer, network = quiet_trainer(), DigitCNN(batch_norm=True)
    check_normalization(network, trainer, True)  # one process
    monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
    check_normalization(network, trainer, False)
    check_normalization(nn.Sequential(nn.BatchNorm2d(3)), trainer, True)
    with pytest.raises(InvalidArgumentError, match="sync_batchnorm is True; PyTorch cannot sync"):
        check_normalization(network, trainer, True)
