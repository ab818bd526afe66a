"""Several processes: errors of their connection."""

import pytest
from torch import distributed

from mnist_lightning.cli.processes import is_connection_lost


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
