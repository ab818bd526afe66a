"""The base class of callbacks that draw once, at the end of a fit."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override

from mnist_lightning.callbacks.figure_callback import FigureCallback


class EndOfFitCallback(FigureCallback):
    """Calls ``on_train_end`` of its subclass also when Ctrl-C or SIGTERM interrupts a fit.

    With several processes an interrupted fit is not drawn, because one process would wait forever
    for others that have already stopped.
    """

    @override
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        is_interrupted = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if is_interrupted and trainer.state.fn == "fit" and trainer.world_size == 1:
            self.on_train_end(trainer, pl_module)
