"""Metrics that cost almost nothing per step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from typing_extensions import override


class MeanOverImages(Metric):
    """Mean over all images of a quantity that is summed over each batch.

    It needs two additions per batch, on the device of the data. ``torchmetrics.MeanMetric`` needs
    seven. By default it also checks for NaN, which makes each step wait for the GPU; without this
    check it ignores weights (torchmetrics 1.9, issue 3434).

    Example:
        >>> loss = MeanOverImages()
        >>> loss.update(torch.tensor(6.0), num_images=3)
        >>> loss.update(torch.tensor(2.0), num_images=1)
        >>> loss.compute()
        tensor(2.)
    """

    full_state_update = False
    total: Tensor
    num_images: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "num_images"):
            self.add_state(name, torch.zeros((), dtype=torch.float32), dist_reduce_fx="sum")

    @override
    def update(self, total: Tensor, num_images: int) -> None:
        """Adds the sum over a batch and its number of images."""
        self.total.add_(total)
        self.num_images.add_(num_images)

    @override
    def compute(self) -> Tensor:
        """Returns the mean over all images so far."""
        return self.total / self.num_images

    @override
    def _apply(self, fn: Callable[..., Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        """Moves the sums to another device, but keeps them exact, even with ``bf16-true``."""

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(fn if self._dtype_convert else move, exclude_state)
