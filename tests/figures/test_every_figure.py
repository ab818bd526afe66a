"""Properties that all figures share."""

import io
from collections.abc import Sequence
from itertools import pairwise

import matplotlib.style
import numpy as np
import pytest
import torch
from drawings import captions, frames, pixels
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix
from mnist_lightning.figures.grids import (
    plot_filters,
    plot_misclassified_grid,
    plot_prediction_grid,
    plot_training_images,
)
from mnist_lightning.figures.learning_curves import plot_learning_curves
from mnist_lightning.figures.pictures import PredictedPicture, plot_pictures
from mnist_lightning.figures.style import BLUE, VERMILION
from mnist_lightning.figures.sweep import (
    plot_importances,
    plot_mean_curves,
    plot_slices,
    plot_trials,
)

pytestmark = pytest.mark.slow

CLASS_NAMES = {
    "digits": tuple("0123456789"),
    "clothes": ("T-shirt/top", "Trouser", "Ankle boot", *(f"Garment {i}" for i in range(7))),
}
HISTORY = {
    "train/loss": [0.5, 0.3, 0.2],
    "val/loss": [0.4, 0.25, 0.3],
    "train/acc": [0.8, 0.9, 0.95],
    "val/acc": [0.85, 0.93, 0.92],
}
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def figures(class_names: Sequence[str]) -> dict[str, Figure]:
    """Draws one figure of each kind."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(25, 1, 28, 28, generator=generator)
    labels = torch.arange(25) % 10
    probabilities = torch.rand(25, 10, generator=generator).softmax(dim=1)
    mistakes = torch.randint(9, (10, 10), generator=generator)
    matrix = torch.eye(10, dtype=torch.long) * 1135 + mistakes
    title = "Fashion-MNIST, validation images"
    return {
        "curves": plot_learning_curves(HISTORY, title="Fashion-MNIST, learning curves"),
        "predictions": plot_prediction_grid(images, labels, probabilities, class_names, title),
        "misclassified": plot_misclassified_grid(
            images, labels, probabilities, class_names, title, 12_345
        ),
        "confusion matrix": plot_confusion_matrix(matrix, class_names, title),
        "training images": plot_training_images(
            images, labels, class_names, "Fashion-MNIST, training images as the network sees them"
        ),
        "pictures": plot_pictures(
            [
                PredictedPicture(
                    f"scans/of a rather long name/{index}.png",
                    picture,
                    [(0.1, 0.2, 0.4, 0.8)],
                    images[index : index + 1],
                    probabilities[index : index + 1],
                    "7",
                )
                for index, picture in enumerate(
                    np.linspace(0, 1, 25 * 90**2 * 3).reshape(25, 90, 90, 3)
                )
            ],
            class_names,
            0.9,
            "25 pictures",
        ),
        "filters": plot_filters(
            torch.randn(8, 1, 5, 5, generator=generator),
            "Fashion-MNIST, filters of the first layer",
        ),
        "trials": plot_trials([0, 1, 2], [0.1, 0.9, 0.91], [False] * 3, "val/acc", maximize=True),
        "importances": plot_importances({"model.learning_rate": 0.7, "data.batch_size": 0.3}),
        "slices": plot_slices(
            [0, 1, 2],
            {
                "model.learning_rate": [0.1, 0.2, 0.3],
                "model.schedule": ["constant", None, "cosine"],
            },
            [0.1, 0.9, 0.91],
            "val/acc",
            maximize=True,
        ),
        "mean curves": plot_mean_curves({"a": [[0.5, 0.9], [0.6, 0.91]]}, "val/acc"),
    }


KINDS = list(figures(CLASS_NAMES["digits"]))


@pytest.mark.parametrize("names", CLASS_NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_text_stays_inside_the_figure_and_its_cell(kind: str, names: str) -> None:
    figure = figures(CLASS_NAMES[names])[kind]
    picture = pixels(figure)
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()  # nothing is cut off
    if kind in ("predictions", "misclassified", "pictures"):
        boxes = [caption.get_window_extent() for caption in captions(figure)]
        for left, right in pairwise(boxes[: 3 if kind == "pictures" else 5]):
            assert left.x1 < right.x0
        cells = [figure.axes[0].transData.transform_bbox(frame) for frame in frames(figure)]
        for box, cell in zip(boxes, cells, strict=True):
            assert box.y0 > max(cell.y0, cell.y1)


@pytest.mark.parametrize("kind", KINDS)
def test_does_not_depend_on_the_users_style(kind: str) -> None:
    expected = pixels(figures(CLASS_NAMES["digits"])[kind])
    custom = {"font.size": 20, "figure.dpi": 30, "font.sans-serif": ["DejaVu Serif"]}
    with matplotlib.style.context(["dark_background", custom, {"axes.unicode_minus": False}]):
        drawn = pixels(figures(CLASS_NAMES["digits"])[kind])
    assert np.array_equal(drawn, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_colours_differ_in_greyscale(kind: str) -> None:
    blue, vermilion = (float(np.dot(to_rgb(colour), LUMINANCE)) for colour in (BLUE, VERMILION))
    assert abs(blue - vermilion) > 0.05
    grey = pixels(figures(CLASS_NAMES["digits"])[kind]) @ LUMINANCE
    assert grey.max() - grey.min() > 150


@pytest.mark.parametrize("kind", KINDS)
def test_can_be_saved_with_a_tight_layout(kind: str) -> None:
    figure = figures(CLASS_NAMES["digits"])[kind]
    full, tight = (io.BytesIO() for _ in range(2))
    figure.savefig(full)
    figure.savefig(tight, bbox_inches="tight", pad_inches=0)  # as in notebooks
    full_size, tight_size = (Image.open(buffer).size for buffer in (full, tight))
    is_grid = kind in ("predictions", "misclassified", "training images", "pictures", "filters")
    margin = 2 if is_grid else 80  # the axes of grids cover the figure
    for full_length, tight_length in zip(full_size, tight_size, strict=True):
        assert full_length - margin <= tight_length <= full_length + 1
