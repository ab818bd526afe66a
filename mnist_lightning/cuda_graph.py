"""Training steps as CUDA graphs."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

WARM_UP_STEPS = 3  # in which libraries initialize themselves


class CUDAGraphModule(LightningModule, ABC):
    """A LightningModule that can compute loss and gradients by replaying a CUDA graph.

    Python starts the kernels of a small network more slowly than a GPU executes them. A graph
    contains all kernels of a step, which are started at once. A subclass implements ``compute``,
    and its ``training_step`` calls ``compute_or_replay`` and returns the loss.

    Attributes:
        cuda_graph: Whether to use a graph on a GPU. On a CPU, ``compute`` is called.
    """

    cuda_graph = False
    _captured_step: "CapturedStep | None" = None

    @abstractmethod
    def compute(self, *batch: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Returns the loss and other tensors for a batch.

        It must execute the same operations each time, and must not read values back.
        """

    def compute_or_replay(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Returns the tensors of ``compute``, valid until the next step."""
        return (self._captured_step or self.compute)(*batch)

    @override
    def on_train_start(self) -> None:
        """Prepares the graph.

        Raises:
            MisconfigurationException: If an option of the Trainer is not supported.
        """
        self._captured_step = None  # that of an interrupted fit
        if self.cuda_graph and self.device.type == "cuda":
            self._captured_step = CapturedStep(self.compute, self.parameters(), self.trainer)

    @override
    def on_train_end(self) -> None:
        self._captured_step = None  # contains memory of the GPU, and cannot be pickled

    @override
    def backward(self, loss: Tensor) -> None:
        if self._captured_step is None or loss.requires_grad:
            super().backward(loss)
        else:  # they were computed together with the loss
            self._captured_step.assign_gradients()


class CapturedStep:
    """Computes the loss and the gradients of a training step by replaying a CUDA graph.

    Three steps with batches of the same shape are executed without a graph; the next one is
    captured.

    Args:
        compute: Maps a batch to a loss and other tensors; see ``CUDAGraphModule.compute``.
        parameters: Weights of which the gradients are computed.
        trainer: The Trainer of the fit.

    Raises:
        MisconfigurationException: If an option of the Trainer is not supported, or a step cannot be
            captured.
    """

    def __init__(
        self,
        compute: Callable[..., tuple[Tensor, ...]],
        parameters: Iterable[nn.Parameter],
        trainer: Trainer,
    ) -> None:
        unsupported = {
            "several devices": trainer.world_size > 1,
            "accumulated gradients": trainer.accumulate_grad_batches != 1,
            "16-mixed precision (use bf16-mixed)": trainer.precision == "16-mixed",
        }
        for option, is_used in unsupported.items():
            if is_used:
                raise MisconfigurationException(f"cuda_graph does not support {option}")
        self._compute = compute
        self._parameters = list(parameters)
        self._gradients: list[Tensor | None] = []
        self._num_steps: Counter[object] = Counter()
        self._captured: dict[object, _Captured] = {}

    def __call__(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Returns the loss and the other tensors, without autograd; they are valid for one step."""
        trainable = [parameter.requires_grad for parameter in self._parameters]
        key = (*(tensor.shape for tensor in batch), *trainable)
        self._num_steps[key] += 1
        if self._num_steps[key] <= WARM_UP_STEPS:
            outputs, self._gradients = self._run(batch)
            return outputs
        if key not in self._captured:
            self._captured[key] = self._capture(batch)
        captured = self._captured[key]
        for static, tensor in zip(captured.batch, batch, strict=True):
            static.copy_(tensor)
        captured.graph.replay()
        self._gradients = captured.gradients
        return captured.outputs

    def assign_gradients(self) -> None:
        """Assigns the gradients of the last step to the parameters."""
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def _capture(self, batch: tuple[Tensor, ...]) -> "_Captured":
        batch = tuple(tensor.clone() for tensor in batch)
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[self._parameters[0].device.index]
        generator_state = generator.clone_state()
        try:
            with torch.cuda.graph(graph):
                outputs, gradients = self._run(batch)
        except RuntimeError as error:
            generator.graphsafe_set_state(generator_state)  # else it remains in capture mode
            raise MisconfigurationException(
                "this network cannot be trained with cuda_graph, because it waits for the GPU or "
                f"changes its operations; set cuda_graph to false ({str(error).splitlines()[0]})"
            ) from error
        return _Captured(graph, batch, outputs, gradients)

    def _run(self, batch: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], list[Tensor | None]]:
        for parameter in self._parameters:
            parameter.grad = None
        outputs = self._compute(*batch)
        torch.autograd.backward(outputs[0])
        gradients = [parameter.grad for parameter in self._parameters]
        return tuple(output.detach() for output in outputs), gradients


class _Captured(NamedTuple):
    """A graph with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    batch: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    gradients: list[Tensor | None]
