"""The base class of callbacks that draw."""

from collections.abc import Callable

from lightning.pytorch import Callback, Trainer
from matplotlib.figure import Figure

from mnist_lightning.figures.publish import publish, render_png


class FigureCallback(Callback):
    """Keeps the last figure. As the last value of a cell, a notebook shows it.

    Attributes:
        figure: The last figure; None before the first one, and in all processes but the first.
    """

    figure: Figure | None = None

    def publish(
        self, trainer: Trainer, draw: Callable[[], Figure], name: str, tag: str, epoch: int
    ) -> None:
        """Draws and publishes a figure; the arguments are those of ``figures.publish``."""
        self.figure = publish(trainer, draw, name, tag, epoch) or self.figure

    def _repr_png_(self) -> bytes | None:
        return None if self.figure is None else render_png(self.figure)
