"""The figure of the user's pictures."""

import numpy as np
import pytest
import torch
from drawings import captions, frames, legend, pixels
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from mnist_lightning.figures.pictures import PredictedPicture, plot_pictures
from mnist_lightning.figures.style import BLUE, VERMILION


def test_pictures_are_shown_next_to_the_network_inputs() -> None:
    pictures = np.full((2, 60, 60, 3), 0.25)
    inputs = torch.full((2, 1, 28, 28), 0.5)
    probabilities = torch.tensor([[0.02, 0.97, 0.01, 0.0], [0.3, 0.1, 0.56, 0.04]])
    figure = plot_pictures(
        [
            PredictedPicture(
                name, pictures[i], [(0, 0, 1, 1)], inputs[[i]], probabilities[[i]], "1"
            )
            for i, name in enumerate(["a.png", "x" * 40])
        ],
        "0123",
        0.9,
    )
    assert [caption.get_text() for caption in captions(figure)] == [
        "a.png\n1: 97%   0: 2%   2: 1%",
        "…" + "x" * 24 + "\n2: 56%   0: 30%   1: 10%",
    ]
    assert [caption.get_fontweight() for caption in captions(figure)] == ["normal", "bold"]
    assert legend(figure).endswith("framed if below 90%")
    drawn = pixels(figure)
    for frame in frames(figure):
        y = (frame.y0 + frame.y1) / 2
        for fraction, expected in ((0.25, 0.25), (0.75, 0.5)):
            x = frame.x0 + fraction * frame.width
            column, row = np.rint(figure.axes[0].transData.transform((x, y))).astype(int)
            assert drawn[len(drawn) - row, column, 0] / 255 == pytest.approx(expected, abs=0.01)


def test_digits_of_a_number_are_boxed() -> None:
    picture = np.full((100, 300, 3), 0.9)
    boxes = [(0.1, 0.3, 0.2, 0.7), (0.5, 0.2, 0.7, 0.8)]
    for left, top, right, bottom in boxes:
        picture[round(100 * top) : round(100 * bottom), round(300 * left) : round(300 * right)] = 0
    probabilities = torch.tensor([[0.01, 0.97, 0.02], [0.4, 0.0, 0.6]])
    number = PredictedPicture(
        "a.png", picture, boxes, torch.rand(2, 1, 28, 28), probabilities, "12"
    )
    figure = plot_pictures([number], "012", 0.9)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [
        "a.png\n12   lowest: 60%",
        "1",
        "2",
        legend(figure),
    ]
    assert captions(figure)[0].get_fontweight() == "bold"  # one digit is unsure
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [to_hex(patch.get_edgecolor()) for patch in patches] == [BLUE.lower(), VERMILION.lower()]
    drawn = pixels(figure)
    for patch in patches:  # each box is around the ink
        x, y = patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2
        column, row = np.rint(axes.transData.transform((x, y))).astype(int)
        assert drawn[len(drawn) - row, column].max() < 30
        for corner in (patch.get_x() - 4, patch.get_x() + patch.get_width() + 4):
            column, row = np.rint(axes.transData.transform((corner, y))).astype(int)
            assert drawn[len(drawn) - row, column].min() > 200
