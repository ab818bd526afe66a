"""Grids of images: predictions, mistakes, training images and filters."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from mnist_lightning.figures.mosaic import draw_mosaic
from mnist_lightning.figures.style import STYLE

MAX_GRID_SIZE = 20  # images along each side; the captions of more would be too small to read
MAX_FILTERS = 64


@STYLE
def plot_prediction_grid(
    images: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str],
    title: str = "Predictions",
    columns: int = 5,
) -> Figure:
    """Plots images with their true and predicted labels; wrong predictions are highlighted.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are rescaled.
        labels: True classes, integers of shape ``(N,)``.
        probabilities: ``(N, num_classes)``; the most likely class is the prediction.
        class_names: A name for each class.
        title: Title; the number of correct predictions is appended.
        columns: Number of images per row.
    """
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels).tolist()
    has_short_names = max(map(len, class_names)) <= 3
    arrow = "→" if has_short_names else "\n→ "  # two short names fit into one line
    captions = [
        f"{class_names[label]}{arrow}{class_names[guess]}  {value:.0%}{'' if is_correct else ' ✗'}"
        for label, guess, value, is_correct in zip(
            labels.tolist(), predicted.tolist(), confidence.tolist(), correct, strict=True
        )
    ]
    return draw_mosaic(
        displayable(images),
        captions,
        f"{title}: {sum(correct)} of {len(images)} correct",
        columns,
        legend="true label → predicted label and its probability",
        highlighted=[not is_correct for is_correct in correct],
    )


@STYLE
def plot_misclassified_grid(
    images: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str],
    title: str = "Mistakes",
    num_mistakes: int | None = None,
    columns: int = 5,
) -> Figure:
    """Plots misclassified images with the probabilities of the true and the predicted class.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are rescaled.
        labels: True classes, integers of shape ``(N,)``.
        probabilities: ``(N, num_classes)``; the most likely class is the prediction.
        class_names: A name for each class.
        title: Title; the number of mistakes is appended.
        num_mistakes: Number of all mistakes, if the images are only the N most confident ones.
        columns: Number of images per row.
    """
    total = len(images) if num_mistakes is None else num_mistakes
    confidence, predicted = probabilities.max(dim=1)
    true_probability = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)
    captions = [
        f"{class_names[label]}  {low:.0%}\n→ {class_names[guess]}  {high:.0%}"
        for label, low, guess, high in zip(
            labels.tolist(),
            true_probability.tolist(),
            predicted.tolist(),
            confidence.tolist(),
            strict=True,
        )
    ]
    legend = "true → predicted label, each with its probability"
    if total > len(images):
        legend = f"the {len(images)} most confident: {legend}"
    return draw_mosaic(
        displayable(images),
        captions,
        f"{title}: {total:,} mistake{'s' * (total != 1)}",
        columns,
        legend=legend if len(images) else "",
    )


@STYLE
def plot_training_images(
    images: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    title: str = "Training images",
    columns: int = 5,
) -> Figure:
    """Plots images with their labels.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are rescaled.
        labels: True classes, integers of shape ``(N,)``.
        class_names: A name for each class.
        title: Title of the figure.
        columns: Number of images per row.
    """
    captions = [class_names[label] for label in labels.tolist()]
    return draw_mosaic(displayable(images), captions, title, columns)


@STYLE
def plot_filters(weights: Tensor, title: str = "Filters of the first layer") -> Figure:
    """Plots the kernels of a convolution, with high weights dark, as ink is in the image grids.

    Args:
        weights: ``(N, C, H, W)``: N filters, of which the first 64 are shown, each as the mean over
            its C input channels.
        title: Title of the figure.
    """
    kernels = weights[:MAX_FILTERS].detach().float().mean(dim=1).cpu().numpy()
    columns = 4 if len(kernels) <= 16 else 8
    limit = float(np.abs(kernels).max()) or 1.0
    scale = ScalarMappable(Normalize(-limit, limit), "Greys")
    images = np.asarray(scale.cmap(scale.norm(kernels)))[..., :3]
    figure = draw_mosaic(images, [""] * len(kernels), title, columns, width_fraction=0.8)
    colorbar = figure.colorbar(
        scale, cax=figure.add_axes((0.84, 0.12, 0.025, 0.6)), ticks=[-limit, 0, limit]
    )
    colorbar.ax.yaxis.set_major_formatter("{x:.2g}")
    colorbar.ax.set_title("weight", fontsize=10)
    return figure


def displayable(images: Tensor) -> np.ndarray:
    """Converts ``(N, 1 or 3, H, W)`` to ``(N, H, W, 3)`` in [0, 1].

    Grey images become dark ink on white paper. Images with values outside [0, 1] (normalized ones)
    are rescaled together.
    """
    images = images.detach().float().cpu().nan_to_num()
    if len(images):
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > 1:
            images = (images - low) / ((high - low) or 1.0)
    if images.shape[1] == 1:
        images = 1 - images.expand(-1, 3, -1, -1)
    array: np.ndarray = images.permute(0, 2, 3, 1).numpy()
    return array
