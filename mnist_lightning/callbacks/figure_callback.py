"""The base class of callbacks that draw."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from lightning.pytorch import Callback, Trainer
from matplotlib.figure import Figure

from mnist_lightning.errors import check, check_integer
from mnist_lightning.figures.publish import FORMATS, Format, publish, render_png
from mnist_lightning.figures.style import DPI

MIN_DPI, MAX_DPI = 10, 1200  # with fewer, fonts have no size


class FigureOptions(TypedDict, total=False):
    """Options of all callbacks that draw."""

    dpi: int
    formats: Sequence[Format]


class FigureCallback(Callback):
    """Keeps the last figure. As the last value of a cell, a notebook shows it.

    Args:
        dpi: Resolution in pixels per inch.
        formats: Formats of the files in the run folder: ``png``, ``pdf`` or ``svg``.

    Attributes:
        figure: The last figure; None before the first one, and in all processes but the first.

    Raises:
        InvalidArgumentError: If an argument is invalid.
    """

    figure: Figure | None = None

    def __init__(self, dpi: int = DPI, formats: Sequence[Format] = ("png",)) -> None:
        check_integer("dpi", dpi, MIN_DPI, MAX_DPI)
        requirement = f"it must be a list of {', '.join(FORMATS)}"
        check("formats", formats, lambda names: set() < set(names) <= set(FORMATS), requirement)
        self.dpi = dpi
        self.formats = formats

    def publish(
        self, trainer: Trainer, draw: Callable[[], Figure], name: str, tag: str, epoch: int
    ) -> None:
        """Draws and publishes a figure; the arguments are those of ``figures.publish``."""
        figure = publish(trainer, draw, name, tag, epoch, self.dpi, self.formats)
        self.figure = figure or self.figure

    def _repr_png_(self) -> bytes | None:
        return None if self.figure is None else render_png(self.figure)
