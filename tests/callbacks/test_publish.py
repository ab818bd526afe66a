"""How figures become PNGs."""

import io
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mnist_lightning.callbacks.publish import _render
from mnist_lightning.plots import STYLE, plot_confusion_matrix, plot_training_images


@STYLE
def drawn(draw: Callable[[], Figure]) -> np.ndarray:
    canvas = FigureCanvasAgg(draw())
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)  # type: ignore[no-untyped-call]


def test_a_chart_has_a_palette_and_white_paper() -> None:
    matrix = torch.eye(10, dtype=torch.long) * 1000 + torch.arange(100).view(10, 10) % 7

    def draw() -> Figure:
        return plot_confusion_matrix(matrix, tuple("0123456789"))

    png, size = _render(draw)
    image, expected = Image.open(io.BytesIO(png)), drawn(draw)
    assert (image.mode, image.size) == ("P", size)
    pixels = np.asarray(image.convert("RGB")).astype(int)
    paper = (expected == 255).all(axis=2)
    assert paper.mean() > 0.3
    assert (pixels[paper] == 255).all()
    assert np.abs(pixels - expected).max() < 40
    assert np.abs(pixels - expected).mean() < 2
    whole = io.BytesIO()
    Image.fromarray(expected.astype(np.uint8)).save(whole, "PNG")
    assert len(png) < len(whole.getvalue()) / 2


def test_photographs_keep_their_colours() -> None:
    photos = torch.rand(25, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def draw() -> Figure:
        return plot_training_images(photos, torch.zeros(25, dtype=torch.long), ["cat"])

    image = Image.open(io.BytesIO(_render(draw)[0]))
    assert np.array_equal(np.asarray(image), drawn(draw))
