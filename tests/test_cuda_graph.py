"""Captured training steps, with a substitute for CUDA graphs; ``test_gpu.py`` tests real ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning import MNISTClassifier
from mnist_lightning.cuda_graph import WARM_UP_STEPS, CapturedStep


class FakeGraph:
    """Executes again what was captured, in the same memory, as a CUDA graph does."""

    captured: list["FakeGraph"]

    def __init__(self) -> None:
        self.run: Any = None
        self.num_replays = 0

    def replay(self) -> None:
        """Overwrites the captured results."""
        self.num_replays += 1
        self.run()


class FakeGenerator:
    """The generator of random numbers of a GPU."""

    def __init__(self) -> None:
        self.state = object()

    def clone_state(self) -> object:
        """Returns the state."""
        return self.state

    def graphsafe_set_state(self, state: object) -> None:
        """Replaces the state."""
        self.state = state


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[FakeGraph]:
    """The graphs that were captured."""
    captured: list[FakeGraph] = []
    run = CapturedStep._run

    @contextmanager
    def capturing(graph: FakeGraph) -> Iterator[None]:
        def watched(step: CapturedStep, batch: tuple[Tensor, ...]) -> Any:
            outputs, gradients = run(step, batch)

            def again() -> None:
                new_outputs, new_gradients = run(step, batch)
                for old, new in zip(
                    (*outputs, *gradients), (*new_outputs, *new_gradients), strict=True
                ):
                    if old is not None:
                        assert new is not None
                        old.copy_(new)

            graph.run = again
            return outputs, gradients

        captured.append(graph)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CapturedStep, "_run", watched)
            yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "default_generators", {None: FakeGenerator()})
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    return captured


class Captured(MNISTClassifier):
    """Captures its steps on a CPU."""

    @override
    def on_train_start(self) -> None:
        self._captured_step = CapturedStep(self.compute, self.parameters(), self.trainer)


def loader(num_images: int) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_images, 1, 28, 28, generator=generator)
    labels = torch.randint(10, (num_images,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=16)


def fit(kind: type[MNISTClassifier], num_images: int, **arguments: Any) -> MNISTClassifier:
    torch.manual_seed(0)
    model = kind(dropout=0.0, **arguments)
    trainer = quiet_trainer(max_epochs=3, accelerator="cpu", gradient_clip_val=1.0)
    trainer.fit(model, loader(num_images), loader(32))
    return model


@pytest.mark.parametrize("arguments", [{}, {"sam_radius": 0.1}, {"schedule": "one_cycle"}])
def test_trains_the_same_weights(arguments: dict[str, Any], graphs: list[FakeGraph]) -> None:
    plain, captured = (fit(kind, 150, **arguments) for kind in (MNISTClassifier, Captured))
    for expected, found in zip(plain.parameters(), captured.parameters(), strict=True):
        assert torch.equal(expected, found)
    metrics = [model.trainer.callback_metrics for model in (plain, captured)]
    assert metrics[0] == metrics[1]
    # Batches of 16, and after three epochs not yet the last one of 6.
    steps = 3 * 9 * (2 if "sam_radius" in arguments else 1)
    assert [graph.num_replays for graph in graphs[:1]] == [steps - WARM_UP_STEPS]


def test_follows_layers_that_are_unfrozen(graphs: list[FakeGraph]) -> None:
    model = MNISTClassifier(dropout=0.0)
    model.network.features.requires_grad_(False)
    step = CapturedStep(model.compute, model.parameters(), quiet_trainer())
    images, labels = torch.rand(4, 1, 28, 28), torch.randint(10, (4,))
    for is_frozen in (True, False, True):
        model.network.features.requires_grad_(not is_frozen)
        for _ in range(WARM_UP_STEPS + 2):
            step(images, labels)
            step.assign_gradients()
            for name, parameter in model.named_parameters():
                assert (parameter.grad is None) == (is_frozen and "features" in name)
    assert len(graphs) == 2


def test_can_be_pickled_and_has_no_effect_on_a_cpu(graphs: list[FakeGraph]) -> None:
    model = fit(MNISTClassifier, 80, cuda_graph=True)
    assert not graphs
    captured = fit(Captured, 80)
    assert graphs
    for trained in (model, captured):
        assert trained._captured_step is None


@pytest.mark.usefixtures("graphs")
def test_a_step_that_cannot_be_captured_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves the generator of random numbers as it was."""
    generator: Any = torch.cuda.default_generators[None]  # type: ignore[call-overload]
    before = generator.state

    @contextmanager
    def failing(graph: FakeGraph) -> Iterator[None]:
        generator.state = "capturing"
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors")
        yield

    monkeypatch.setattr(torch.cuda, "graph", failing)
    with pytest.raises(MisconfigurationException, match="set cuda_graph to false") as caught:
        fit(Captured, 80)
    assert str(caught.value).endswith("(operation not permitted when stream is capturing)")
    assert generator.state is before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate_grad_batches": 2}, "does not support accumulated gradients"),
        ({"precision": "16-mixed"}, r"does not support 16-mixed precision \(use bf16-mixed\)"),
    ],
)
def test_unsupported_options_are_errors(options: dict[str, Any], message: str) -> None:
    trainer = quiet_trainer(accelerator="cpu", **(options if "precision" not in options else {}))
    if "precision" in options:
        trainer.strategy.precision_plugin.precision = options["precision"]
    with pytest.raises(MisconfigurationException, match=message):
        CapturedStep(nn.Identity(), [], trainer)
