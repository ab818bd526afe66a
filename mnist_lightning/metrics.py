"""Metrics that cost almost nothing per step."""

import torch
from torch import Tensor
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
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(self, total: Tensor, num_images: int) -> None:
        """Adds the sum over a batch and its number of images."""
        # With precision="bf16-true", Lightning converts the state, and the sum would stop growing.
        self.total = self.total.float() + total
        self.num_images.add_(num_images)

    @override
    def compute(self) -> Tensor:
        """Returns the mean over all images so far."""
        return self.total / self.num_images
