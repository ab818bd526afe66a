"""Helpers that inspect the figures and messages of callbacks."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from lightning.pytorch import Callback
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from mnist_lightning.figures.style import STYLE

FIGURE_FILES = {
    "confusion_matrix.png",
    "curves.png",
    "filters.png",
    "misclassified.png",
    "predictions.png",
    "training_images.png",
}
"""The figures in the run folder after a fit and a test with all callbacks."""


@dataclass
class Drawing:
    """A figure and the other arguments of ``publish``."""

    name: str
    tag: str
    epoch: int
    figure: Figure

    @property
    def title(self) -> str:
        """The title of the figure."""
        return self.figure.get_suptitle()

    @property
    def texts(self) -> list[str]:
        """The texts in the first axes."""
        return [text.get_text() for text in self.figure.axes[0].texts]


@STYLE
def pixels(figure: Figure) -> np.ndarray:
    """Renders a figure: ``(H, W, 3)``, uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def mosaic(figure: Figure) -> np.ndarray:
    """Returns the array that holds all images of a grid: ``(H, W, 3)``, uint8."""
    return np.asarray(figure.axes[0].images[0].get_array())


def frames(figure: Figure) -> list[Bbox]:
    """Returns the position of each image of a grid."""
    (collection,) = figure.axes[0].collections
    return [path.get_extents() for path in collection.get_paths()]


def captions(figure: Figure) -> list[Text]:
    """Returns the caption of each image of a grid, without the legend."""
    return list(figure.axes[0].texts)[:-1]


def legend(figure: Figure) -> str:
    """Returns the line that explains the captions of a grid."""
    return figure.axes[0].texts[-1].get_text()


def logged_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns the messages that the package logged, without those of Lightning."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("mnist_lightning")
    ]


def held_bytes(callback: Callback) -> int:
    """Returns the memory of a callback's attributes, including tensors behind views.

    Its figure is not included.
    """
    # Lightning also attaches the methods log and log_dict of the model.
    values = [value for value in vars(callback).values() if not callable(value)]
    return len(pickle.dumps([value for value in values if not isinstance(value, Figure)]))
