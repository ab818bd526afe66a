"""The filters of the first convolution."""

import logging

from lightning.pytorch import LightningModule, Trainer
from torch import nn
from typing_extensions import override

from mnist_lightning.callbacks.captions import title
from mnist_lightning.callbacks.end_of_fit import EndOfFitCallback
from mnist_lightning.figures.grids import plot_filters

log = logging.getLogger(__name__)


class FirstLayerFilters(EndOfFitCallback):
    """Plots the kernels of the model's first ``Conv2d`` at the end of a fit.

    The figure is ``filters.png`` in the run folder and an image in TensorBoard.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> filters = FirstLayerFilters()
        >>> trainer = Trainer(callbacks=[filters], logger=False, enable_checkpointing=False)
    """

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _first_convolution(pl_module) is None and trainer.is_global_zero:
            log.warning("FirstLayerFilters is disabled: it requires a model with a Conv2d")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        layer = _first_convolution(pl_module)
        if layer is None:
            return
        heading = title(trainer, "filters of the first layer")
        self.publish(
            trainer,
            lambda: plot_filters(layer.weight, heading),
            "filters",
            "filters",
            trainer.current_epoch,
        )


def _first_convolution(pl_module: LightningModule) -> nn.Conv2d | None:
    layers = (module for module in pl_module.modules() if isinstance(module, nn.Conv2d))
    return next(layers, None)
