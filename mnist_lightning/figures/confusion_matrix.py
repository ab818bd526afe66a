"""The confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from mnist_lightning.figures.style import STYLE, VERMILION, write_title


@STYLE
def plot_confusion_matrix(
    matrix: Tensor, class_names: Sequence[str], title: str = "Confusion matrix"
) -> Figure:
    """Plots how many images of each class were predicted as each class, and each class's accuracy.

    Mistakes are coloured; the diagonal is grey, so that its high counts do not hide them.

    Args:
        matrix: Number of images, integers of shape ``(num_classes, num_classes)``: rows are true
            classes, columns are predicted classes.
        class_names: A name for each class.
        title: Title; the number of mistakes is appended.
    """
    counts = matrix.cpu().numpy()
    num_classes, total = len(counts), int(counts.sum())
    max_length = max(map(len, class_names))
    has_short_names = max_length <= 3  # longer ones are written vertically below the matrix

    side = _side_inches(num_classes)
    left, right = 0.5 + 0.085 * max_length, 0.85
    above, below = 0.65, 0.5 if has_short_names else 0.35 + 0.085 * max_length
    width, height = left + side + right, above + side + below
    figure = Figure(figsize=(width, height))
    write_title(figure, f"{title}: {total - int(counts.trace()):,} of {total:,} misclassified")
    axes = figure.add_axes((left / width, below / height, side / width, side / height))
    _draw_cells(axes, counts)
    _write_accuracies(axes, counts)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(range(num_classes), class_names, rotation=0 if has_short_names else 90)
    axes.set_yticks(range(num_classes), class_names)
    axes.tick_params(length=0)
    return figure


def _side_inches(num_classes: int) -> float:
    return max(3.9, 0.27 * num_classes)


def _draw_cells(axes: Axes, counts: np.ndarray) -> None:
    num_classes = len(counts)
    mistakes = counts * (1 - np.eye(num_classes, dtype=counts.dtype))
    colours = LinearSegmentedColormap.from_list("mistakes", ["white", "#FFD9BF", VERMILION])
    pixels = colours(mistakes / max(1, mistakes.max()))[..., :3]
    np.einsum("iic->ic", pixels)[:] = 0.92  # the diagonal
    axes.imshow(pixels)
    cell_points = 72 * _side_inches(num_classes) / num_classes
    size = min(10.0, cell_points * 1.3 / max(2, len(str(counts.max()))))
    for row, column in zip(*np.nonzero(counts), strict=True):
        axes.text(
            column,
            row,
            str(counts[row, column]),
            color="0.5" if row == column else "black",
            fontsize=size,
            ha="center",
            va="center_baseline",
        )
    edges = np.arange(num_classes + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color="0.85", linewidth=0.6)
    axes.vlines(edges, edges[0], edges[-1], color="0.85", linewidth=0.6)
    axes.spines[:].set_visible(False)


def _write_accuracies(axes: Axes, counts: np.ndarray) -> None:
    """Writes the accuracy of each true class to the right of its row."""
    num_classes = len(counts)
    inch = num_classes / _side_inches(num_classes)  # in units of the axes: a cell is 1 wide
    x = num_classes - 0.5 + 0.08 * inch
    for row, num_images in enumerate(counts.sum(axis=1)):
        text = f"{counts[row, row] / num_images:.1%}" if num_images else "n/a"
        axes.text(x, row, text, va="center_baseline")
    axes.text(x, -0.5 - 0.1 * inch, "accuracy", va="center_baseline")
