"""Causes of the training's speed, since clocks differ between machines."""

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

from mnist_lightning import MNISTClassifier, RandomDistortion
from mnist_lightning.cli import main

# Operations that wait for a GPU, because they read values back or have shapes that depend on them.
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
    """Counts the operations of PyTorch during a training."""

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
    """Returns the numbers of operations in one epoch of a default fit."""
    counting.calls.clear()
    options = ["max_epochs=1", "limit_test_batches=0"]
    data = ["--data.source=sample", f"--data.batch_size={batch_size}"]
    main(["fit", *data, *(f"--trainer.{option}" for option in options)])
    return counting.calls.copy()


@pytest.mark.usefixtures("workdir")
def test_a_batch_needs_the_minimum_of_operations(counting: Counting) -> None:
    few, many = count(counting, 800), count(counting, 50)  # 4 steps and 1 validation, 64 and 4
    steps, batches = 60, 60 + 3
    more = {name: many[name] - few[name] for name in many}
    assert more["convolution"] == 2 * batches
    for name in (*WAITS, "to a device"):
        assert more.get(name, 0) == 0, f"{name}: something waits for the device"
    assert more["index_select"] == 2 * batches, "a batch is not one indexing call"
    for name in ("select", "stack", "unbind"):
        assert more.get(name, 0) == 0, f"{name}: images are handled one by one"
    # Lightning divides each loss by the number of accumulated batches, forward and backward.
    assert more["div"] == 2 * steps, "metrics are computed in each step"


def test_all_training_batches_of_the_gpu_recipe_have_the_same_size() -> None:
    path = Path(__file__).parent.parent / "configs" / "gpu.yaml"
    options = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert options["model"]["cuda_graph"]  # each size needs its own
    assert 48_000 % options["data"]["batch_size"] == 0


def test_augmentation_processes_complete_batches() -> None:
    distort = RandomDistortion(5, 0.1, 0.1, 1, 0.5, 0.3)
    distort(torch.rand(1, 1, 28, 28))  # computes the basis functions of this size, once
    counts = []
    for size in (2, 512):
        with Counting() as counting:
            distort(torch.rand(size, 1, 28, 28))
        counts.append(counting.calls.total())
    assert counts[0] == counts[1] < 120


def test_augmentation_costs_less_than_the_training_step() -> None:
    """It costs about a seventh; this fails only if images are processed one by one."""
    images, labels = torch.rand(128, 1, 28, 28), torch.randint(10, (128,))
    distort, model = RandomDistortion(7, 0.08, 0.1, 1, 0.3, 0.25), MNISTClassifier()
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, Optimizer)

    def step() -> None:
        torch.autograd.backward(functional.cross_entropy(model(images), labels))
        optimizer.step()
        optimizer.zero_grad()

    seconds = {"augmentation": float("inf"), "step": float("inf")}
    for _ in range(20):
        for name, work in (("augmentation", lambda: distort(images)), ("step", step)):
            begin = time.perf_counter()
            work()
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    assert seconds["augmentation"] < seconds["step"] / 2
