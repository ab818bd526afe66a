"""What makes the training fast: causes are guarded here, since clocks differ between machines."""

from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from mnist_lightning import MNISTClassifier
from mnist_lightning.cli import main

# What waits for a GPU: values that are read back, and shapes that depend on them.
WAITS = (
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "_unique2",
)


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of PyTorch between the start and the end of a training."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[str] = Counter()

    @override
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if name == "_to_copy" and kwargs.get("device") is not None:
            self.calls["to a device"] += 1
        return func(*args, **kwargs)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting, training = Counting(), ExitStack()
    start, end = (lambda self: training.enter_context(counting)), (lambda self: training.close())
    monkeypatch.setattr(MNISTClassifier, "on_train_start", start)
    monkeypatch.setattr(MNISTClassifier, "on_train_end", end)
    return counting


def count(counting: Counting, batch_size: int) -> Counter[str]:
    """Returns what an epoch with all that a user has by default asks of PyTorch."""
    counting.calls.clear()
    options = ["max_epochs=1", "limit_test_batches=0"]
    data = ["--data.source=sample", f"--data.batch_size={batch_size}"]
    main(["fit", *data, *(f"--trainer.{option}" for option in options)])
    return counting.calls.copy()


@pytest.mark.usefixtures("workdir")
def test_nothing_waits_for_the_device_within_an_epoch(counting: Counting) -> None:
    few, many = count(counting, 800), count(counting, 50)  # 4 steps and 1 validation, 64 and 4
    assert many["convolution"] - few["convolution"] == 2 * (60 + 3)
    for name in (*WAITS, "to a device"):
        assert many[name] == few[name], name
