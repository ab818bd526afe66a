"""Metrics."""

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override


class MeanOverImages(Metric):
    """The mean over all images of something that is summed up over each batch.

    Two additions where the data are; torchmetrics' own ``MeanMetric`` makes seven, and either looks
    for NaN, for which each step would wait for the GPU, or ignores weights (as of 1.9).
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
        """Adds a batch: the sum over its images and their number."""
        self.total.add_(total)
        self.images.add_(images)

    @override
    def compute(self) -> Tensor:
        return self.total / self.images
