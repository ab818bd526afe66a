"""Drawing: tensors and numbers in, a matplotlib Figure out.

``Figure`` is used without pyplot, so that nothing is shown, registered or kept.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

# From the palette of Okabe and Ito (2008): told apart by colour-blind readers and in greyscale.
BLUE, VERMILION = "#0072B2", "#D55E00"
Pair = tuple[str, str]


def plot_learning_curves(
    history: Mapping[str, Sequence[float]],
    loss: Pair = ("train/loss", "val/loss"),
    accuracy: Pair = ("train/acc", "val/acc"),
    title: str = "Learning curves",
) -> Figure:
    """Draws training against validation loss and training against validation accuracy.

    Args:
        history: A list for each metric, an entry an epoch from the first on, NaN where it was not
            measured; losses in nats, accuracies in [0, 1].
        loss: Names of the training and the validation loss.
        accuracy: Names of the training and the validation accuracy.
        title: Stands above both graphs.

    Raises:
        ValueError: If two lists of a pair differ in length.
    """
    figure = Figure(figsize=(9, 3.8))
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.13, top=0.88, wspace=0.22)
    figure.suptitle(title, fontsize=13)
    left, right = figure.subplots(1, 2)
    val_loss = np.asarray(history[loss[1]], dtype=float)
    best = None if np.isnan(val_loss).all() else int(np.nanargmin(val_loss)) + 1
    _plot_pair(left, history, loss, "{:.4f}", best)
    left.set_ylabel("loss (cross-entropy, nats)")
    _plot_pair(right, history, accuracy, "{:.2%}", best)
    right.set_ylabel("accuracy")
    right.yaxis.set_major_formatter("{x:.1%}")
    return figure


def _plot_pair(
    axes: Axes, history: Mapping[str, Sequence[float]], names: Pair, form: str, best: int | None
) -> None:
    if len(history[names[0]]) != len(history[names[1]]):
        lengths = " and ".join(f"{name} has {len(history[name])}" for name in names)
        raise ValueError(f"both curves of a graph need an entry for each epoch, but {lengths}")
    curves = (("training", names[0], BLUE, "o-"), ("validation", names[1], VERMILION, "s--"))
    for label, name, colour, style in curves:
        values = np.asarray(history[name], dtype=float)
        epochs = np.arange(1, len(values) + 1)
        measured = ~np.isnan(values)
        if measured.any():
            label = f"{label} {form.format(values[measured][-1])}"
        axes.plot(
            epochs[measured], values[measured], style, color=colour, label=label, markersize=4
        )
    if best is not None:
        axes.axvline(
            best, color="0.45", linestyle=":", label=f"lowest validation loss: epoch {best}"
        )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(edgecolor="none", framealpha=0.9, fontsize=9)


def plot_prediction_grid(
    images: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str],
    title: str = "Predictions",
    columns: int = 5,
) -> Figure:
    """Draws a grid of images with true and predicted label; wrong ones are framed and marked.

    Args:
        images: ``(N, 1 or 3, H, W)``; values outside [0, 1] are scaled into it.
        labels: True classes, integers of shape ``(N,)``.
        probabilities: ``(N, num_classes)``; the likeliest class counts as the prediction.
        class_names: A name for each class.
        title: Stands above the grid, with the number of right predictions.
        columns: Images in a row.
    """
    confidence, predicted = probabilities.max(dim=1)
    right = predicted == labels
    rows = -(-len(images) // columns)
    height, width = images.shape[-2:]
    pitch_y, pitch_x = round(1.45 * height), round(1.15 * width)

    inches = 1.35 * columns / (columns * pitch_x)  # for a pixel of the images
    above = 0.45 / inches  # the title's share
    size = (columns * pitch_x, rows * pitch_y + above)
    figure = Figure(figsize=(size[0] * inches, size[1] * inches))
    heading = f"{title}: {int(right.sum())} of {len(images)} right"
    figure.suptitle(
        heading, fontsize=13, y=1 - 0.25 / (size[1] * inches), verticalalignment="center"
    )
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # One picture for all images: an axes for each of them would take five times as long.
    mosaic = np.ones((rows * pitch_y, columns * pitch_x, 3))
    for index, image in enumerate(_displayable(images)):
        top = (index // columns) * pitch_y + round(0.38 * height)
        start = (index % columns) * pitch_x + (pitch_x - width) // 2
        mosaic[top : top + height, start : start + width] = image
        frame = Rectangle((start - 0.5, top - 0.5), width, height, fill=False, edgecolor="0.8")
        text = axes.text(
            start - 0.5,
            top - 0.5 - 0.07 * height,
            f"true {class_names[int(labels[index])]}\n"
            f"pred {class_names[int(predicted[index])]}  {confidence[index]:.0%}",
            fontsize=9,
            color="0.25",
        )
        if not right[index]:
            frame.set(edgecolor=VERMILION, linewidth=3)
            text.set(color=VERMILION, weight="bold", text=f"{text.get_text()} ✗")
        axes.add_patch(frame)
    axes.imshow(mosaic, interpolation="nearest")
    axes.set(xlim=(-0.5, size[0] - 0.5), ylim=(size[1] - above - 0.5, -above - 0.5))
    return figure


def _displayable(images: Tensor) -> np.ndarray:
    """Returns ``(N, H, W, 3)`` in [0, 1]; grey images as dark ink on white paper."""
    images = images.detach().float().cpu()
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        images = (images - low) / (high - low)
    if images.shape[1] == 1:
        images = 1 - images.expand(-1, 3, -1, -1)
    array: np.ndarray = images.permute(0, 2, 3, 1).numpy()
    return array
