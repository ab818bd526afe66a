"""How figures become PNGs."""

import io

import numpy as np
import torch
from drawings import pixels
from matplotlib.figure import Figure
from PIL import Image

from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix
from mnist_lightning.figures.grids import plot_training_images
from mnist_lightning.figures.publish import _render


def test_a_chart_has_a_palette_and_white_paper() -> None:
    matrix = torch.eye(10, dtype=torch.long) * 1000 + torch.arange(100).view(10, 10) % 7

    def draw() -> Figure:
        return plot_confusion_matrix(matrix, tuple("0123456789"))

    png, size = _render(draw)
    image, expected = Image.open(io.BytesIO(png)), pixels(draw())
    assert (image.mode, image.size) == ("P", size)
    shown = np.asarray(image.convert("RGB"))
    paper = (expected == 255).all(axis=2)
    assert paper.mean() > 0.3
    assert (shown[paper] == 255).all()
    difference = np.abs(shown.astype(int) - expected)
    assert difference.max() < 40
    assert difference.mean() < 2
    whole = io.BytesIO()
    Image.fromarray(expected).save(whole, "PNG")
    assert len(png) < len(whole.getvalue()) / 2


def test_photographs_keep_their_colours() -> None:
    photos = torch.rand(25, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def draw() -> Figure:
        return plot_training_images(photos, torch.zeros(25, dtype=torch.long), ["cat"])

    image = Image.open(io.BytesIO(_render(draw)[0]))
    assert np.array_equal(np.asarray(image), pixels(draw()))
