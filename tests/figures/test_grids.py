"""The grids of images."""

from math import nan

import numpy as np
import pytest
import torch
from drawings import captions, frames, legend, mosaic, pixels
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mnist_lightning.figures.grids import (
    plot_filters,
    plot_misclassified_grid,
    plot_prediction_grid,
    plot_training_images,
)
from mnist_lightning.figures.style import VERMILION


def prediction_grid(
    num_images: int, misclassified: set[int], side: int = 28, channels: int = 1
) -> Figure:
    """Plots images of brightness ``index / num_images``; misclassified ones are predicted as 9."""
    brightness = torch.arange(num_images).float() / num_images
    images = brightness.view(-1, 1, 1, 1).expand(-1, channels, side, side)
    labels = torch.arange(num_images) % 9
    predicted = labels.clone()
    predicted[list(misclassified)] = 9
    probabilities = torch.full((num_images, 10), 0.02)
    probabilities[torch.arange(num_images), predicted] = 0.82
    return plot_prediction_grid(images, labels, probabilities, tuple("abcdefghij"), "MNIST")


def test_prediction_grid_has_a_cell_for_each_image() -> None:
    figure = prediction_grid(25, misclassified={3, 24})
    assert figure.get_suptitle() == "MNIST: 23 of 25 correct"
    assert len(frames(figure)) == len(captions(figure)) == 25
    corners = [(frame.x0, frame.y0) for frame in frames(figure)]
    assert len({x for x, _ in corners}) == len({y for _, y in corners}) == 5
    assert corners == sorted(corners, key=lambda corner: (corner[1], corner[0]))


def test_prediction_grid_highlights_mistakes_by_more_than_colour() -> None:
    figure = prediction_grid(25, misclassified={3, 24})
    (collection,) = figure.axes[0].collections
    colours = np.asarray(collection.get_edgecolor())[:, :3]
    widths = np.asarray(collection.get_linewidth())
    for index, caption in enumerate(captions(figure)):
        label = "abcdefghi"[index % 9]
        if index in (3, 24):
            assert caption.get_text() == f"{label}→j  82% ✗"
            assert caption.get_fontweight() == "bold"
            assert caption.get_color() == VERMILION
            assert tuple(colours[index]) == to_rgb(VERMILION)
            assert widths[index] >= 3
        else:
            assert caption.get_text() == f"{label}→{label}  82%"
            assert tuple(colours[index]) != to_rgb(VERMILION)
            assert widths[index] <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("num_images", "side"), [(25, 28), (3, 28), (7, 8)])
def test_images_fill_their_frames(num_images: int, side: int, channels: int) -> None:
    figure = prediction_grid(num_images, misclassified=set(), side=side, channels=channels)
    picture = pixels(figure)
    axes = figure.axes[0]
    for index, frame in enumerate(frames(figure)):
        assert frame.width == frame.height == side * -(-24 // side)  # small ones are enlarged
        x, y = axes.transData.transform(((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2))
        value = picture[picture.shape[0] - round(y), round(x), 0] / 255
        brightness = index / num_images
        expected = 1 - brightness if channels == 1 else brightness
        assert value == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("scale", "offset"), [(3, 0), (255, 0), (3, 10)])
def test_rescales_normalized_images(scale: int, offset: int) -> None:
    images = torch.rand(4, 1, 8, 8) * scale + offset
    names = [str(index) for index in range(10)]
    figure = plot_prediction_grid(images, torch.arange(4), torch.eye(10)[:4], names)
    assert mosaic(figure).min() == 0  # the brightest pixel is drawn as black ink


@pytest.mark.parametrize("shape", [(20, 100), (100, 20), (5, 5)])
def test_images_of_any_shape_are_not_cut_off(shape: tuple[int, int]) -> None:
    labels = torch.zeros(7, dtype=torch.long)
    picture = pixels(plot_training_images(torch.rand(7, 3, *shape), labels, ["a"], "A " * 60))
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()


@pytest.mark.parametrize("value", [nan, 5.0, -1.0])
def test_draws_constant_and_nan_images(value: float) -> None:
    images = torch.full((2, 1, 8, 8), value)
    pixels(plot_training_images(images, torch.zeros(2, dtype=torch.long), ["a"]))


def test_training_images_have_their_labels_as_captions() -> None:
    figure = plot_training_images(
        torch.rand(3, 1, 28, 28), torch.tensor([1, 0, 1]), ("cat", "dog"), "Pets"
    )
    assert figure.get_suptitle() == "Pets"
    assert [caption.get_text() for caption in captions(figure)] == ["dog", "cat", "dog"]


def test_misclassified_grid_shows_both_probabilities() -> None:
    probabilities = torch.tensor([[0.03, 0.97, 0], [0.6, 0.15, 0.25]])
    figure = plot_misclassified_grid(
        torch.rand(2, 1, 28, 28),
        torch.tensor([0, 2]),
        probabilities,
        ("cat", "dog", "emu"),
        "Pets",
        num_mistakes=40,
    )
    assert [caption.get_text() for caption in captions(figure)] == [
        "cat  3%\n→ dog  97%",
        "emu  25%\n→ cat  60%",
    ]
    assert figure.get_suptitle() == "Pets: 40 mistakes"
    assert legend(figure).startswith("the 2 most confident: true → predicted")


@pytest.mark.parametrize(("number", "title"), [(0, "Pets: 0 mistakes"), (1, "Pets: 1 mistake")])
def test_misclassified_grid_supports_one_mistake_and_none(number: int, title: str) -> None:
    figure = plot_misclassified_grid(
        torch.rand(number, 1, 28, 28),
        torch.zeros(number, dtype=torch.long),
        torch.tensor([[0.1, 0.9]] * number).view(number, 2),
        ("cat", "dog"),
        "Pets",
    )
    assert figure.get_suptitle() == title
    assert len(captions(figure)) == number
    assert "most confident" not in legend(figure)  # all mistakes are shown
    pixels(figure)


def test_filters_are_dark_where_weights_are_high() -> None:
    weights = torch.zeros(8, 1, 5, 5)
    weights[0, 0, 0, 0], weights[1, 0, 4, 4] = 0.5, -0.25
    figure = plot_filters(weights, "Filters")

    def shade(index: int, row: int, column: int) -> int:
        frame = frames(figure)[index]
        x = int(frame.x0 + 0.5 + (column + 0.5) * frame.width / 5)
        y = int(frame.y0 + 0.5 + (row + 0.5) * frame.height / 5)
        return int(mosaic(figure)[y, x, 0])

    assert shade(0, 0, 0) < 20
    assert shade(0, 0, 0) < shade(2, 0, 0) < shade(1, 4, 4) < 255
    assert shade(2, 0, 0) == shade(7, 4, 4)
    assert len(frames(figure)) == 8


def test_filters_show_the_mean_over_channels() -> None:
    weights = torch.tensor([0.5, -0.5, -0.6]).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    assert (mosaic(plot_filters(weights)) == 255).all()  # the lowest possible weight is white


def test_filters_of_any_number_and_value_are_drawn() -> None:
    pixels(plot_filters(torch.zeros(3, 3, 7, 7)))
    assert len(frames(plot_filters(torch.randn(512, 3, 3, 3)))) == 64
