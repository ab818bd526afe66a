"""Figures that callbacks draw, to be looked into."""

from dataclasses import dataclass

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mnist_lightning.figures.style import STYLE

PICTURES = {
    "confusion_matrix.png",
    "curves.png",
    "filters.png",
    "misclassified.png",
    "predictions.png",
    "training_images.png",
}
"""What a fit and its test leave in the run folder."""


@dataclass
class Drawing:
    """A figure, and where it would go."""

    name: str
    tag: str
    epoch: int
    figure: Figure

    @property
    def title(self) -> str:
        """What stands above the figure."""
        return self.figure.get_suptitle()

    @property
    def texts(self) -> list[str]:
        """What stands in the first axes."""
        return [text.get_text() for text in self.figure.axes[0].texts]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns what the package logged, without what Lightning did."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("mnist_lightning")
    ]


@STYLE
def pixels(figure: Figure) -> np.ndarray:
    """Returns what the figure looks like: ``(H, W, 3)``, uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
