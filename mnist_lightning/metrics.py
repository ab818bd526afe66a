"""Metrics that cost almost nothing per step."""

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override


class MeanOverImages(Metric):
    """Mean over all images of a quantity that is summed over each batch.

    It needs two additions per batch, on the device of the data. ``torchmetrics.MeanMetric`` needs
    seven and either checks for NaN, which makes each step wait for the GPU, or ignores weights
    (torchmetrics 1.9, issue 3434).

    Example:
        >>> loss = MeanOverImages()
        >>> loss.update(torch.tensor(6.0), images=3)
        >>> loss.update(torch.tensor(2.0), images=1)
        >>> loss.compute()
        tensor(2.)
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    @override
    def update(self, total: Tensor, images: int) -> None:
        """Adds the sum over a batch and its number of images."""
        self.total.add_(total)
        self.images.add_(images)

    @override
    def compute(self) -> Tensor:
        """Returns the mean over all images so far."""
        return self.total / self.images
