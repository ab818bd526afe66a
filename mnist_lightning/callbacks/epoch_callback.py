"""Callbacks that leave the training step alone."""

from typing import Any

from lightning.pytorch import Callback


class EpochCallback(Callback):
    """A callback without hooks around the training step.

    Lightning calls six hooks of every callback around each step, those that do nothing included;
    for ten callbacks and a network this small they take a twentieth of the training. What is None
    it passes over.
    """

    on_train_batch_start: Any = None
    on_before_zero_grad: Any = None
    on_before_backward: Any = None
    on_after_backward: Any = None
    on_before_optimizer_step: Any = None
    on_train_batch_end: Any = None
