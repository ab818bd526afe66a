"""Confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from mnist_lightning.figures.style import STYLE, VERMILION, write_title


@STYLE
def plot_confusion_matrix(
    matrix: Tensor, class_names: Sequence[str], title: str = "Confusion matrix"
) -> Figure:
    """Draws how often each class was taken for each other one, and the accuracy of each class.

    The diagonal is muted, so that the colours belong to the mistakes.

    Args:
        matrix: Counts, integers of shape ``(num_classes, num_classes)``: rows are true classes,
            columns predicted ones.
        class_names: A name for each class.
        title: Stands above the matrix, with the number of mistakes.
    """
    counts = matrix.cpu().numpy()
    classes, total, right = len(counts), int(counts.sum()), int(counts.trace())
    mistakes = counts * (1 - np.eye(classes, dtype=counts.dtype))
    longest = max(map(len, class_names))
    short = longest <= 3

    side = max(3.9, 0.27 * classes)  # of the matrix, in inches, like what follows
    left = 0.5 + 0.085 * longest
    above, below, beside = 0.65, 0.5 if short else 0.35 + 0.085 * longest, 0.85
    width, height = left + side + beside, above + side + below
    figure = Figure(figsize=(width, height))
    write_title(figure, f"{title}: {total - right:,} of {total:,} wrong")
    axes = figure.add_axes((left / width, below / height, side / width, side / height))

    errors = LinearSegmentedColormap.from_list("errors", ["white", "#FFD9BF", VERMILION])
    pixels = errors(mistakes / max(1, mistakes.max()))[..., :3]
    np.einsum("iic->ic", pixels)[:] = 0.92
    axes.imshow(pixels)
    size = min(10.0, 72 * side / classes * 1.3 / max(2, len(str(counts.max()))))
    for true, guess in zip(*np.nonzero(counts), strict=True):
        count = counts[true, guess]
        colour = "0.5" if true == guess else "black"
        axes.text(
            guess, true, str(count), color=colour, fontsize=size, ha="center", va="center_baseline"
        )
    inch = classes / side  # in cells
    beside_it = classes - 0.5 + 0.08 * inch
    for row, count in enumerate(counts.sum(axis=1)):
        text = f"{counts[row, row] / count:.1%}" if count else "none"
        axes.text(beside_it, row, text, va="center_baseline")
    axes.text(beside_it, -0.5 - 0.1 * inch, "accuracy", va="center_baseline")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(range(classes), class_names, rotation=0 if short else 90)
    axes.set_yticks(range(classes), class_names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    lines = np.arange(classes + 1) - 0.5
    axes.hlines(lines, lines[0], lines[-1], color="0.85", linewidth=0.6)
    axes.vlines(lines, lines[0], lines[-1], color="0.85", linewidth=0.6)
    return figure
