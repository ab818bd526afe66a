"""Learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mnist_lightning.figures.style import BLUE, STYLE, VERMILION, WIDTH, write_title

Pair = tuple[str, str]


@STYLE
def plot_learning_curves(
    history: Mapping[str, Sequence[float]],
    loss: Pair = ("train/loss", "val/loss"),
    accuracy: Pair = ("train/acc", "val/acc"),
    title: str = "Learning curves",
    figure: Figure | None = None,
) -> Figure:
    """Draws training against validation loss and training against validation accuracy.

    The last value of each curve and the epoch of the lowest validation loss stand in the legends.

    Args:
        history: A list for each metric, an entry an epoch from the first on, NaN where it was not
            measured; losses in nats, accuracies in [0, 1].
        loss: Names of the training and the validation loss.
        accuracy: Names of the training and the validation accuracy.
        title: Stands above both graphs.
        figure: What this function returned before, to be brought up to date and returned again;
            that takes half the time, because its axes and ticks are there already.

    Raises:
        ValueError: If the lists differ in length.
    """
    lengths = {name: len(history[name]) for name in (*loss, *accuracy)}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"each curve needs an entry for each epoch, but {each}")
    if figure is None:
        figure = Figure(figsize=(WIDTH, WIDTH))
        figure.subplots_adjust(left=0.16, right=0.97, bottom=0.09, top=0.93, hspace=0.1)
        figure.subplots(2, 1, sharex=True)
    write_title(figure, title)
    upper, lower = figure.axes
    val_loss = np.asarray(history[loss[1]], dtype=float)
    best = None if np.isnan(val_loss).all() else int(np.nanargmin(val_loss)) + 1
    _plot_pair(upper, history, loss, "{:.4f}", best)
    upper.set_ylabel("loss")
    _plot_pair(lower, history, accuracy, "{:.2%}", best)
    lower.set_ylabel("accuracy")
    lower.yaxis.set_major_formatter("{x:.1%}")

    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return figure


def _plot_pair(
    axes: Axes, history: Mapping[str, Sequence[float]], names: Pair, form: str, best: int | None
) -> None:
    for old in (*axes.get_lines(), *axes.texts, axes.get_legend()):
        if old is not None:
            old.remove()
    axes.relim()
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
        label = f"best epoch {best}"
        value = history[names[1]][best - 1]
        if not np.isnan(value):
            label += f": {form.format(value)}"
        axes.axvline(best, color="0.45", linestyle=":", label=label)
    if axes.get_lines():
        axes.legend(loc="best", edgecolor="none", framealpha=0.9)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, color="0.4", ha="center")
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_label_coords(-0.145, 0.5)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
