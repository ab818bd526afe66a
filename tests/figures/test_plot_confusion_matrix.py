"""The figure of a confusion matrix."""

import numpy as np
import pytest
import torch
from drawings import pixels
from matplotlib.colors import to_rgb

from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix
from mnist_lightning.figures.style import VERMILION


def test_shows_counts_and_accuracies() -> None:
    matrix = torch.tensor([[90, 10, 0], [0, 1000, 0], [3, 4, 0]])
    figure = plot_confusion_matrix(matrix, ("cat", "dog", "emu"), "Pets")
    assert figure.get_suptitle() == "Pets: 17 of 1,107 misclassified"
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    texts = {text.get_position(): text for text in axes.texts}
    cells = {(x, y): text.get_text() for (x, y), text in texts.items() if x < 2.5}
    assert cells == {(0, 0): "90", (1, 0): "10", (1, 1): "1000", (0, 2): "3", (1, 2): "4"}
    margin = [text.get_text() for (x, _), text in texts.items() if x > 2.5]
    assert margin == ["90.0%", "100.0%", "0.0%", "accuracy"]

    shades = np.asarray(axes.images[0].get_array())
    assert tuple(shades[0, 1]) == pytest.approx(to_rgb(VERMILION))  # the most frequent mistake
    for row in range(3):  # the diagonal is light grey
        assert np.ptp(shades[row, row]) == 0
        assert shades[row, row, 0] > 0.9
        assert texts[row, row].get_color() == "0.5" if (row, row) in texts else row == 2
    assert (shades[1, 0] == 1).all()  # no mistake
    darkness = [1 - shades[cell].mean() for cell in ((1, 0), (2, 0), (2, 1), (0, 1))]
    assert darkness == sorted(darkness)
    assert darkness[1] > 0.01


def test_supports_no_mistakes_and_classes_without_images() -> None:
    figure = plot_confusion_matrix(torch.tensor([[5, 0], [0, 0]]), ("a", "b"))
    assert "n/a" in [text.get_text() for text in figure.axes[0].texts]
    assert figure.get_suptitle() == "Confusion matrix: 0 of 5 misclassified"
    pixels(figure)


def test_counts_of_many_classes_are_legible() -> None:
    matrix = torch.eye(47, dtype=torch.long) * 400
    matrix[3, 4] = 17
    figure = plot_confusion_matrix(matrix, [chr(48 + index) for index in range(47)])
    (count,) = (text for text in figure.axes[0].texts if text.get_text() == "17")
    assert float(count.get_fontsize()) > 6
    pixels(figure)
    cell_width = figure.axes[0].get_window_extent().width / 47
    assert count.get_window_extent().width < cell_width


@pytest.mark.parametrize("num_classes", [2, 3, 5, 64])
def test_long_texts_fit_whatever_the_number_of_classes(num_classes: int) -> None:
    title = "A data set with a name that is long, validation images"
    matrix = torch.eye(num_classes, dtype=torch.long) * 1000
    figure = plot_confusion_matrix(matrix, [f"class {i}" for i in range(num_classes)], title)
    picture = pixels(figure)
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()
    (axes,) = figure.axes
    header = next(text for text in axes.texts if text.get_text() == "accuracy")
    matrix_box, header_box = axes.get_window_extent(), header.get_window_extent()
    assert header_box.y0 >= matrix_box.y1
    assert header_box.x0 >= matrix_box.x1
    (heading,) = (text for text in figure.texts if text.get_text().startswith(title))
    assert heading.get_window_extent().y0 > header_box.y1
