"""What the figures show."""

from collections.abc import Sequence
from itertools import pairwise
from math import nan

import matplotlib.style
import numpy as np
import pytest
import torch
from drawings import pixels
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix
from mnist_lightning.figures.grids import (
    plot_filters,
    plot_misclassified_grid,
    plot_pictures,
    plot_prediction_grid,
    plot_training_images,
)
from mnist_lightning.figures.learning_curves import plot_learning_curves
from mnist_lightning.figures.style import BLUE, VERMILION

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


def test_curves_show_training_against_validation() -> None:
    figure = plot_learning_curves(HISTORY, title="MNIST")
    assert figure.get_suptitle() == "MNIST"
    loss, accuracy = figure.axes
    assert accuracy.get_xlabel() == "epoch"  # shared
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
        ["training 0.2000", "validation 0.3000", "best epoch 2: 0.2500"],
        ["training 95.00%", "validation 92.00%", "best epoch 2: 93.00%"],
    ]
    assert accuracy.get_xlim() == loss.get_xlim()


def test_curves_leave_out_what_was_not_measured() -> None:
    history = HISTORY | {"val/loss": [nan, 0.25, nan], "val/acc": [nan, nan, nan]}
    loss, accuracy = plot_learning_curves(history).axes
    assert data(loss.get_lines()[1]) == ([2], [0.25])
    assert legend(accuracy) == ["training 95.00%", "best epoch 2"]


def test_curves_of_a_run_without_validation_or_with_one_epoch() -> None:
    never = {"val/loss": [nan] * 3, "val/acc": [nan] * 3}
    loss, _ = plot_learning_curves(HISTORY | never).axes
    assert len(loss.get_lines()) == 1  # neither a curve nor a best epoch
    loss, accuracy = plot_learning_curves(HISTORY | never | {"train/acc": [nan] * 3}).axes
    assert accuracy.get_legend() is None
    assert [text.get_text() for text in accuracy.texts] == ["not measured"]
    pixels(plot_learning_curves({name: values[:1] for name, values in HISTORY.items()}))


def test_curves_are_brought_up_to_date_as_if_drawn_anew() -> None:
    nothing = {name: [nan] * 3 for name in HISTORY}
    first = {name: values[:1] for name, values in HISTORY.items()}
    figure = plot_learning_curves(nothing)
    pixels(figure)
    for history in (HISTORY, first):
        again = plot_learning_curves(history, title="again", figure=figure)
        assert again is figure
        assert np.array_equal(pixels(again), pixels(plot_learning_curves(history, title="again")))
    plot_learning_curves(nothing, figure=figure)
    for axes in figure.axes:
        assert (axes.get_legend(), axes.get_lines()[:]) == (None, [])


def test_curves_take_other_names() -> None:
    history = {"a": [1.0], "b": [2.0], "c": [0.1], "d": [0.2]}
    loss, accuracy = plot_learning_curves(history, loss=("a", "b"), accuracy=("c", "d")).axes
    assert [data(line)[1] for line in loss.get_lines()[:2]] == [[1], [2]]
    assert [data(line)[1] for line in accuracy.get_lines()[:2]] == [[0.1], [0.2]]


def test_curves_refuse_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="train/acc has 3, val/acc has 2"):
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


def frames(figure: Figure) -> list[Bbox]:
    (collection,) = figure.axes[0].collections
    return [path.get_extents() for path in collection.get_paths()]


def texts(figure: Figure) -> list[Text]:
    """The captions; the last text explains them."""
    return list(figure.axes[0].texts)[:-1]


def test_grid_has_a_cell_for_each_image() -> None:
    figure = grid(25, wrong={3, 24})
    assert figure.get_suptitle() == "MNIST: 23 of 25 right"
    assert len(frames(figure)) == len(texts(figure)) == 25
    corners = [(frame.x0, frame.y0) for frame in frames(figure)]
    assert len({x for x, _ in corners}) == len({y for _, y in corners}) == 5
    assert corners == sorted(corners, key=lambda corner: (corner[1], corner[0]))


def test_grid_sets_wrong_ones_apart_by_more_than_colour() -> None:
    figure = grid(25, wrong={3, 24})
    (collection,) = figure.axes[0].collections
    colours = np.asarray(collection.get_edgecolor())[:, :3]
    widths = np.asarray(collection.get_linewidth())
    for index, text in enumerate(texts(figure)):
        true = "abcdefghi"[index % 9]
        if index in (3, 24):
            assert text.get_text() == f"{true}→j  82% ✗"
            assert text.get_fontweight() == "bold"
            assert text.get_color() == VERMILION
            assert tuple(colours[index]) == to_rgb(VERMILION)
            assert widths[index] >= 3
        else:
            assert text.get_text() == f"{true}→{true}  82%"
            assert tuple(colours[index]) != to_rgb(VERMILION)
            assert widths[index] <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("number", "side"), [(25, 28), (3, 28), (7, 8)])
def test_grid_shows_each_image_where_its_frame_is(number: int, side: int, channels: int) -> None:
    figure = grid(number, wrong=set(), side=side, channels=channels)
    picture = pixels(figure)
    axes = figure.axes[0]
    for index, frame in enumerate(frames(figure)):
        assert frame.width == frame.height == side * -(-24 // side)  # small ones are enlarged
        x, y = axes.transData.transform(((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2))
        value = picture[picture.shape[0] - round(y), round(x), 0] / 255
        bright = index / number
        assert value == pytest.approx(1 - bright if channels == 1 else bright, abs=0.01)


@pytest.mark.parametrize("scale", [(3, 0), (255, 0), (3, 10)])
def test_grid_scales_normalized_images(scale: tuple[int, int]) -> None:
    images = torch.rand(4, 1, 8, 8) * scale[0] + scale[1]
    probabilities = torch.eye(10)[:4]
    figure = plot_prediction_grid(
        images, torch.arange(4), probabilities, [str(i) for i in range(10)]
    )
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    assert mosaic.min() == 0  # the brightest pixel is ink


NAMES = {
    "digits": tuple("0123456789"),
    "clothes": ("T-shirt/top", "Trouser", "Ankle boot", *(f"Garment {i}" for i in range(7))),
}


def figures(names: Sequence[str]) -> dict[str, Figure]:
    """Draws one figure of each kind."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(25, 1, 28, 28, generator=generator)
    labels = torch.arange(25) % 10
    probabilities = torch.rand(25, 10, generator=generator).softmax(dim=1)
    matrix = torch.eye(10, dtype=torch.long) * 1135 + torch.randint(
        9, (10, 10), generator=generator
    )
    return {
        "curves": plot_learning_curves(HISTORY, title="Fashion-MNIST, learning curves"),
        "predictions": plot_prediction_grid(
            images, labels, probabilities, names, "Fashion-MNIST, validation images"
        ),
        "misclassified": plot_misclassified_grid(
            images, labels, probabilities, names, "Fashion-MNIST, validation images", 12_345
        ),
        "confusion matrix": plot_confusion_matrix(
            matrix, names, "Fashion-MNIST, validation images"
        ),
        "training images": plot_training_images(
            images, labels, names, "Fashion-MNIST, training images as the network sees them"
        ),
        "pictures": plot_pictures(
            np.linspace(0, 1, 25 * 90**2 * 3).reshape(25, 90, 90, 3),
            images,
            probabilities,
            [f"scans/of a rather long name/{i}.png" for i in range(25)],
            names,
            0.9,
            "25 pictures",
        ),
        "filters": plot_filters(
            torch.randn(8, 1, 5, 5, generator=generator),
            "Fashion-MNIST, filters of the first layer",
        ),
    }


KINDS = list(figures(NAMES["digits"]))


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_text_stays_inside_the_figure_and_its_cell(kind: str, names: str) -> None:
    figure = figures(NAMES[names])[kind]
    picture = pixels(figure)
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()  # nothing is cut off
    if kind in ("predictions", "misclassified", "pictures"):
        captions = [text.get_window_extent() for text in texts(figure)]
        for left, right in pairwise(captions[: 3 if kind == "pictures" else 5]):
            assert left.x1 < right.x0
        cells = [figure.axes[0].transData.transform_bbox(frame) for frame in frames(figure)]
        for caption, cell in zip(captions, cells, strict=True):
            assert caption.y0 > max(cell.y0, cell.y1)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_look_the_same_whatever_the_style(kind: str) -> None:
    expected = pixels(figures(NAMES["digits"])[kind])
    mine = {"font.size": 20, "figure.dpi": 30, "font.sans-serif": ["DejaVu Serif"]}
    with matplotlib.style.context(["dark_background", mine, {"axes.unicode_minus": False}]):
        drawn = pixels(figures(NAMES["digits"])[kind])
    assert np.array_equal(drawn, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_colours_survive_greyscale(kind: str) -> None:
    def luminance(colour: str) -> float:
        return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))

    assert abs(luminance(BLUE) - luminance(VERMILION)) > 0.05
    picture = pixels(figures(NAMES["digits"])[kind]).astype(float)
    grey = picture @ np.array([0.2126, 0.7152, 0.0722])
    assert grey.max() - grey.min() > 150


def test_pictures_have_beside_them_what_the_network_saw() -> None:
    pictures = np.full((2, 60, 60, 3), 0.25)
    digits = torch.full((2, 1, 28, 28), 0.5)
    probabilities = torch.tensor([[0.02, 0.97, 0.01, 0.0], [0.3, 0.1, 0.56, 0.04]])
    figure = plot_pictures(pictures, digits, probabilities, ["a.png", "x" * 40], "0123", 0.9)
    assert [text.get_text() for text in texts(figure)] == [
        "a.png\n1: 97%   0: 2%   2: 1%",
        "…" + "x" * 24 + "\n2: 56%   0: 30%   1: 10%",
    ]
    assert [text.get_fontweight() for text in texts(figure)] == ["normal", "bold"]
    assert figure.axes[0].texts[-1].get_text().endswith("framed: below 90%")
    drawn = pixels(figure)
    for frame in frames(figure):
        (left, right), y = (frame.x0, frame.x1), (frame.y0 + frame.y1) / 2
        for x, value in (((3 * left + right) / 4, 0.25), ((left + 3 * right) / 4, 0.5)):
            place = figure.axes[0].transData.transform((x, y))
            column, row = (round(part) for part in place)
            assert drawn[len(drawn) - row, column, 0] / 255 == pytest.approx(value, abs=0.01)


def test_misclassified_grid_has_both_probabilities() -> None:
    probabilities = torch.tensor([[0.03, 0.97, 0], [0.6, 0.15, 0.25]])
    figure = plot_misclassified_grid(
        torch.rand(2, 1, 28, 28),
        torch.tensor([0, 2]),
        probabilities,
        ("cat", "dog", "emu"),
        "Pets",
        mistakes=40,
    )
    assert [text.get_text() for text in texts(figure)] == [
        "cat  3%\n→ dog  97%",
        "emu  25%\n→ cat  60%",
    ]
    assert figure.get_suptitle() == "Pets: 40 mistakes"
    assert figure.axes[0].texts[-1].get_text().startswith("the 2 most confident: true → predicted")


@pytest.mark.parametrize(("number", "heading"), [(0, "Pets: 0 mistakes"), (1, "Pets: 1 mistake")])
def test_misclassified_grid_of_few_or_none(number: int, heading: str) -> None:
    figure = plot_misclassified_grid(
        torch.rand(number, 1, 28, 28),
        torch.zeros(number, dtype=torch.long),
        torch.tensor([[0.1, 0.9]] * number).view(number, 2),
        ("cat", "dog"),
        "Pets",
    )
    assert figure.get_suptitle() == heading
    assert len(texts(figure)) == number
    assert "most confident" not in figure.axes[0].texts[-1].get_text()  # they are all
    pixels(figure)


def test_confusion_matrix_shows_counts_and_accuracy() -> None:
    matrix = torch.tensor([[90, 10, 0], [0, 1000, 0], [3, 4, 0]])
    figure = plot_confusion_matrix(matrix, ("cat", "dog", "emu"), "Pets")
    assert figure.get_suptitle() == "Pets: 17 of 1,107 wrong"
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    found = {text.get_position(): text for text in axes.texts}
    cells = {at: text.get_text() for at, text in found.items() if at[0] < 2.5}
    assert cells == {(0, 0): "90", (1, 0): "10", (1, 1): "1000", (0, 2): "3", (1, 2): "4"}
    beside = [text.get_text() for at, text in found.items() if at[0] > 2.5]
    assert beside == ["90.0%", "100.0%", "0.0%", "accuracy"]

    shades = np.asarray(axes.images[0].get_array())
    assert tuple(shades[0, 1]) == pytest.approx(to_rgb(VERMILION))  # the most frequent mistake
    for row in range(3):  # muted: grey, and close to the paper
        assert np.ptp(shades[row, row]) == 0
        assert shades[row, row, 0] > 0.9
        assert found[row, row].get_color() == "0.5" if (row, row) in found else row == 2
    assert (shades[1, 0] == 1).all()  # no mistake
    darkness = [1 - shades[cell].mean() for cell in ((1, 0), (2, 0), (2, 1), (0, 1))]
    assert darkness == sorted(darkness)
    assert darkness[1] > 0.01


def test_confusion_matrix_of_a_class_without_images_and_of_no_mistakes() -> None:
    figure = plot_confusion_matrix(torch.tensor([[5, 0], [0, 0]]), ("a", "b"))
    assert "none" in [text.get_text() for text in figure.axes[0].texts]
    assert figure.get_suptitle() == "Confusion matrix: 0 of 5 wrong"
    pixels(figure)


def test_confusion_matrix_of_many_classes_can_still_be_read() -> None:
    matrix = torch.eye(47, dtype=torch.long) * 400
    matrix[3, 4] = 17
    figure = plot_confusion_matrix(matrix, [chr(48 + index) for index in range(47)])
    (count,) = (text for text in figure.axes[0].texts if text.get_text() == "17")
    assert float(count.get_fontsize()) > 6
    pixels(figure)
    cell = figure.axes[0].get_window_extent().width / 47
    assert count.get_window_extent().width < cell


@pytest.mark.parametrize("number", [2, 3, 5, 64])
def test_confusion_matrix_of_any_size_has_room_for_its_text(number: int) -> None:
    title = "A data set with a name that is long, validation images"
    figure = plot_confusion_matrix(
        torch.eye(number, dtype=torch.long) * 1000, [f"class {i}" for i in range(number)], title
    )
    picture = pixels(figure)
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()
    (axes,) = figure.axes
    header = next(text for text in axes.texts if text.get_text() == "accuracy")
    matrix = axes.get_window_extent()
    assert header.get_window_extent().y0 >= matrix.y1
    assert header.get_window_extent().x0 >= matrix.x1
    (heading,) = (text for text in figure.texts if text.get_text().startswith(title))
    assert heading.get_window_extent().y0 > header.get_window_extent().y1


@pytest.mark.parametrize("shape", [(20, 100), (100, 20), (5, 5)])
def test_grid_of_other_shapes_is_not_cut_off(shape: tuple[int, int]) -> None:
    figure = plot_training_images(
        torch.rand(7, 3, *shape), torch.zeros(7, dtype=torch.long), ["a"], "A " * 60
    )
    picture = pixels(figure)
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()


@pytest.mark.parametrize("value", [nan, 5.0, -1.0])
def test_odd_images_are_drawn(value: float) -> None:
    images = torch.full((2, 1, 8, 8), value)
    pixels(plot_training_images(images, torch.zeros(2, dtype=torch.long), ["a"]))


def test_training_images_have_their_labels() -> None:
    figure = plot_training_images(
        torch.rand(3, 1, 28, 28), torch.tensor([1, 0, 1]), ("cat", "dog"), "Pets"
    )
    assert figure.get_suptitle() == "Pets"
    assert [text.get_text() for text in texts(figure)] == ["dog", "cat", "dog"]


def test_filters_are_dark_where_their_weight_is_high() -> None:
    weights = torch.zeros(8, 1, 5, 5)
    weights[0, 0, 0, 0], weights[1, 0, 4, 4] = 0.5, -0.25
    figure = plot_filters(weights, "Filters")
    mosaic = np.asarray(figure.axes[0].images[0].get_array())[..., 0].astype(int)

    def shade(index: int, row: int, column: int) -> int:
        frame = frames(figure)[index]
        x = int(frame.x0 + 0.5 + (column + 0.5) * frame.width / 5)
        y = int(frame.y0 + 0.5 + (row + 0.5) * frame.height / 5)
        return int(mosaic[y, x])

    assert shade(0, 0, 0) < 20
    assert shade(0, 0, 0) < shade(2, 0, 0) < shade(1, 4, 4) < 255
    assert shade(2, 0, 0) == shade(7, 4, 4)
    assert len(frames(figure)) == 8
    coloured = torch.tensor([0.5, -0.5, -0.6]).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    mean = np.asarray(plot_filters(coloured).axes[0].images[0].get_array())
    assert (mean == 255).all()  # the lowest weight of all is white
    pixels(plot_filters(torch.zeros(3, 3, 7, 7)))  # nothing learnt, and coloured
    assert len(frames(plot_filters(torch.randn(512, 3, 3, 3)))) == 64
