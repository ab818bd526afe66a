"""What the figures show."""

from math import nan

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from mnist_lightning.plots import VERMILION, plot_learning_curves, plot_prediction_grid

HISTORY = {
    "train/loss": [0.5, 0.3, 0.2],
    "val/loss": [0.4, 0.25, 0.3],
    "train/acc": [0.8, 0.9, 0.95],
    "val/acc": [0.85, 0.93, 0.92],
}


def data(line: Line2D) -> tuple[list[float], list[float]]:
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def test_curves_show_training_against_validation() -> None:
    figure = plot_learning_curves(HISTORY, title="MNIST")
    assert figure.get_suptitle() == "MNIST"
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), accuracy.get_xlabel()) == ("epoch", "epoch")
    assert "loss" in loss.get_ylabel()
    assert "accuracy" in accuracy.get_ylabel()
    for axes, kind in ((loss, "loss"), (accuracy, "acc")):
        train, val, best = axes.get_lines()
        assert data(train) == ([1, 2, 3], HISTORY[f"train/{kind}"])
        assert data(val) == ([1, 2, 3], HISTORY[f"val/{kind}"])
        assert set(data(best)[0]) == {2}  # the epoch of the lowest validation loss
        assert train.get_color() != val.get_color()
        assert train.get_linestyle() != val.get_linestyle()  # for readers without colours
        assert train.get_marker() != val.get_marker()
    assert [legend(axes) for axes in figure.axes] == [
        ["training 0.2000", "validation 0.3000", "lowest validation loss: epoch 2"],
        ["training 95.00%", "validation 92.00%", "lowest validation loss: epoch 2"],
    ]


def test_curves_leave_out_what_was_not_measured() -> None:
    history = HISTORY | {"val/loss": [nan, 0.25, nan], "val/acc": [nan, nan, nan]}
    loss, accuracy = plot_learning_curves(history).axes
    assert data(loss.get_lines()[1]) == ([2], [0.25])
    assert data(accuracy.get_lines()[1]) == ([], [])
    assert legend(accuracy)[1] == "validation"


def test_curves_of_a_run_without_validation_or_with_one_epoch() -> None:
    never = {"val/loss": [nan] * 3, "val/acc": [nan] * 3}
    loss, _ = plot_learning_curves(HISTORY | never).axes
    assert len(loss.get_lines()) == 2  # no best epoch
    pixels(plot_learning_curves({name: values[:1] for name, values in HISTORY.items()}))


def test_curves_take_other_names() -> None:
    history = {"a": [1.0], "b": [2.0], "c": [0.1], "d": [0.2]}
    loss, accuracy = plot_learning_curves(history, loss=("a", "b"), accuracy=("c", "d")).axes
    assert [data(line)[1] for line in loss.get_lines()[:2]] == [[1], [2]]
    assert [data(line)[1] for line in accuracy.get_lines()[:2]] == [[0.1], [0.2]]


def test_curves_refuse_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="train/acc has 3 and val/acc has 2"):
        plot_learning_curves(HISTORY | {"val/acc": [0.1, 0.2]})


def grid(number: int, wrong: set[int], side: int = 28, channels: int = 1) -> Figure:
    """Draws images that are ``index / number`` bright; those in ``wrong`` are taken for 9."""
    bright = torch.arange(number).float() / number
    images = bright.view(-1, 1, 1, 1).expand(-1, channels, side, side)
    labels = torch.arange(number) % 9
    predicted = torch.tensor([9 if index in wrong else index % 9 for index in range(number)])
    probabilities = torch.full((number, 10), 0.02)
    probabilities[torch.arange(number), predicted] = 0.82
    return plot_prediction_grid(images, labels, probabilities, tuple("abcdefghij"), "MNIST")


def frames(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def texts(figure: Figure) -> list[Text]:
    return list(figure.axes[0].texts)


def test_grid_has_a_cell_for_each_image() -> None:
    figure = grid(25, wrong={3, 24})
    assert figure.get_suptitle() == "MNIST: 23 of 25 right"
    assert len(frames(figure)) == len(texts(figure)) == 25
    corners = [(frame.get_x(), frame.get_y()) for frame in frames(figure)]
    assert len({x for x, _ in corners}) == len({y for _, y in corners}) == 5
    assert corners == sorted(corners, key=lambda corner: (corner[1], corner[0]))


def test_grid_sets_wrong_ones_apart_by_more_than_colour() -> None:
    figure = grid(25, wrong={3, 24})
    for index, (frame, text) in enumerate(zip(frames(figure), texts(figure), strict=True)):
        true = "abcdefghi"[index % 9]
        if index in (3, 24):
            assert text.get_text() == f"true {true}\npred j  82% ✗"
            assert text.get_fontweight() == "bold"
            assert frame.get_edgecolor()[:3] == to_rgb(VERMILION)
            assert frame.get_linewidth() >= 3
        else:
            assert text.get_text() == f"true {true}\npred {true}  82%"
            assert frame.get_edgecolor()[:3] != to_rgb(VERMILION)
            assert frame.get_linewidth() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("number", "side"), [(25, 28), (3, 28), (7, 8)])
def test_grid_shows_each_image_where_its_frame_is(number: int, side: int, channels: int) -> None:
    figure = grid(number, wrong=set(), side=side, channels=channels)
    picture = pixels(figure)
    axes = figure.axes[0]
    for index, frame in enumerate(frames(figure)):
        middle = (frame.get_x() + side / 2, frame.get_y() + side / 2)
        x, y = axes.transData.transform(middle)
        value = picture[picture.shape[0] - round(y), round(x), 0] / 255
        bright = index / number
        assert value == pytest.approx(1 - bright if channels == 1 else bright, abs=0.01)


def test_grid_scales_normalized_images() -> None:
    images = torch.randn(4, 1, 8, 8) * 3
    probabilities = torch.eye(10)[:4]
    figure = plot_prediction_grid(
        images, torch.arange(4), probabilities, [str(i) for i in range(10)]
    )
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    assert 0 <= mosaic.min() < mosaic.max() <= 1
    assert mosaic[..., 0].min() == 0  # the brightest pixel is ink


def test_text_stays_inside_the_figure() -> None:
    figure = grid(25, wrong=set(range(25)))
    picture = pixels(figure)
    for text in texts(figure):
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= picture.shape[1]
        assert box.y1 <= picture.shape[0]
