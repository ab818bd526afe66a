"""Callbacks that leave the training step alone."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override


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


class EndCallback(EpochCallback):
    """A callback that draws when a fit ends, in ``on_train_end``, also one that is stopped by hand.

    One of several processes cannot, once it was stopped: it would wait for the others.
    """

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        by_hand = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if by_hand and trainer.state.fn == "fit" and trainer.world_size == 1:
            self.on_train_end(trainer, pl_module)
