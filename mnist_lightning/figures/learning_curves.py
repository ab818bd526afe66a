"""The learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mnist_lightning.figures.style import BLUE, STYLE, VERMILION, WIDTH_INCHES, write_title

Pair = tuple[str, str]  # names of a training and a validation metric


@STYLE
def plot_learning_curves(
    history: Mapping[str, Sequence[float]],
    loss: Pair = ("train/loss", "val/loss"),
    accuracy: Pair = ("train/acc", "val/acc"),
    title: str = "Learning curves",
    figure: Figure | None = None,
) -> Figure:
    """Plots training and validation loss above training and validation accuracy, over epochs.

    The legends show the last value of each curve, and both values at the best epoch, which is the
    epoch with the lowest validation loss.

    Args:
        history: A list for each metric, one entry per epoch from the first on, NaN if it was not
            logged; losses in nats, accuracies in [0, 1].
        loss: Names of training and validation loss in ``history``.
        accuracy: Names of training and validation accuracy in ``history``.
        title: Title of the figure.
        figure: An earlier result of this function, which is updated and returned. This takes half
            the time, because axes and ticks are reused.

    Raises:
        ValueError: If the lists differ in length.
    """
    lengths = {name: len(history[name]) for name in (*loss, *accuracy)}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"the lists must have one entry per epoch, but {each}")
    if figure is None:
        figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES))
        figure.subplots_adjust(left=0.16, right=0.97, bottom=0.09, top=0.93, hspace=0.1)
        figure.subplots(2, 1, sharex=True)
    write_title(figure, title)
    loss_axes, accuracy_axes = figure.axes
    val_loss = np.asarray(history[loss[1]], dtype=float)
    best_epoch = None if np.isnan(val_loss).all() else int(np.nanargmin(val_loss)) + 1
    _plot_pair(loss_axes, history, loss, "{:.4f}", best_epoch)
    loss_axes.set_ylabel("loss")
    _plot_pair(accuracy_axes, history, accuracy, "{:.2%}", best_epoch)
    accuracy_axes.set_ylabel("accuracy")
    accuracy_axes.yaxis.set_major_formatter("{x:.1%}")
    accuracy_axes.set_xlabel("epoch")
    accuracy_axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return figure


def _plot_pair(
    axes: Axes,
    history: Mapping[str, Sequence[float]],
    names: Pair,
    number_format: str,
    best_epoch: int | None,
) -> None:
    """Plots a training and a validation metric, in place of what the axes showed before."""
    for artist in (*axes.get_lines(), *axes.texts, axes.get_legend()):
        if artist is not None:
            artist.remove()
    axes.relim()
    curves = (("training", names[0], BLUE, "o-"), ("validation", names[1], VERMILION, "s--"))
    for label, name, colour, line_style in curves:
        values = np.asarray(history[name], dtype=float)
        epochs = np.arange(1, len(values) + 1)
        is_logged = ~np.isnan(values)
        if is_logged.any():
            epochs, values = epochs[is_logged], values[is_logged]
            label = f"{label} {number_format.format(values[-1])}"
            axes.plot(epochs, values, line_style, color=colour, label=label, markersize=4)
    if best_epoch is not None:
        label = f"best epoch {best_epoch}"
        value = history[names[1]][best_epoch - 1]
        if not np.isnan(value):
            label += f": {number_format.format(value)}"
        axes.axvline(best_epoch, color="0.45", linestyle=":", label=label)
    if axes.get_lines():
        axes.legend(loc="best", edgecolor="none", framealpha=0.9)
    else:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, color="0.4", ha="center")
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_label_coords(-0.145, 0.5)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
