"""The figures of a hyperparameter sweep."""

from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from math import ceil, isfinite, nan
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from mnist_lightning.figures.metric_axis import format_metric, limit_metric, new_figure, shorten
from mnist_lightning.figures.style import BLUE, STYLE, VERMILION

COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "black")  # from Okabe and Ito
LINE_STYLES: Sequence[Any] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
Array = np.ndarray


@STYLE
def plot_trials(
    numbers: Sequence[int],
    values: Sequence[float],
    is_pruned: Sequence[bool],
    objective: str,
    maximize: bool,
) -> Figure:
    """Plots the objective of each trial and the best value so far.

    Args:
        numbers: Number of each of at least one trial, ascending.
        values: Objective of each trial; NaN or infinite for a failed trial. Accuracies are in
            [0, 1].
        is_pruned: Whether each trial was pruned. Pruned trials are never the best one.
        objective: Name of the metric; if its last part is ``acc``, it is shown in per cent.
        maximize: Whether higher values are better.
    """
    y, pruned = np.where(np.isfinite(values), values, nan), np.array(is_pruned, dtype=bool)
    is_failed, x = np.isnan(y), np.array(numbers)
    is_complete = ~is_failed & ~pruned
    title = "Optimization history" + (" (pruned trials are grey)" if pruned.any() else "")
    figure, (axes,) = new_figure(title, 3.8)
    if is_complete.any():
        best_so_far = (np.maximum if maximize else np.minimum).accumulate(y[is_complete])
        axes.step(x[is_complete], best_so_far, VERMILION, where="post", label="best so far")
    colours = np.where(pruned, "0.6", BLUE)
    _draw_trials(axes, x, y, colours, is_complete, numbers, objective, maximize)
    if is_failed.any():
        bottom, transform = np.full(is_failed.sum(), 0.04), axes.get_xaxis_transform()
        axes.plot(x[is_failed], bottom, "x", color="0.3", transform=transform, label="failed")
    axes.set(xlabel="trial", ylabel=shorten(objective, 28))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


@STYLE
def plot_importances(importances: Mapping[str, float]) -> Figure:
    """Plots the importance of each hyperparameter, the most important one on top.

    Args:
        importances: For each of at least one hyperparameter, the fraction of the objective's
            variation that it explains, in [0, 1].
    """
    names, widths = zip(*sorted(importances.items(), key=lambda item: item[1]), strict=True)
    figure, (axes,) = new_figure("Hyperparameter importance", 0.7 + 0.3 * len(names))
    axes.bar_label(axes.barh(range(len(names)), widths, 0.65, color=BLUE), fmt="{:.1%}", padding=3)
    axes.set_yticks(range(len(names)), [shorten(name, 36) for name in names])
    axes.set(xlim=(0, 1.25 * max(widths) or 1), ylim=(-0.6, len(names) - 0.4), xticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


@STYLE
def plot_slices(
    numbers: Sequence[int],
    parameters: Mapping[str, Sequence[object]],
    values: Sequence[float],
    objective: str,
    maximize: bool,
    log_scaled: Collection[str] = (),
) -> Figure:
    """Plots the objective over each hyperparameter, in one panel for each.

    Args:
        numbers: Number of each trial, ascending.
        parameters: For each of at least one hyperparameter, its value in each trial. Values that
            are not all finite numbers are categories.
        values: Objective of each trial, as in ``plot_trials``; failed trials are left out.
        objective: Name of the metric, as in ``plot_trials``.
        maximize: Whether higher values are better.
        log_scaled: Hyperparameters with a logarithmic axis, if all their values are positive.
    """
    y, colours = np.where(np.isfinite(values), values, nan), np.linspace(0.3, 1, len(values))
    rows = ceil(len(parameters) / 3)
    columns = ceil(len(parameters) / rows)
    title = "Objective by hyperparameter (later trials are darker)"
    figure, panels = new_figure(title, 1 + 2.1 * rows, rows, columns)
    for axes, (name, settings) in zip(panels, parameters.items(), strict=False):
        x = _set_x_axis(axes, settings, name in log_scaled)
        axes.set_xlabel(shorten(name, 72 // columns), size=7)
        blues = colormaps["Blues"](colours)
        _draw_trials(axes, x, y, blues, ~np.isnan(y), numbers, objective, maximize)
    for axes in panels[len(parameters) :]:
        axes.remove()
    figure.supylabel(shorten(objective, 28), size="medium")
    handles, _ = panels[0].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


@STYLE
def plot_mean_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    metric: str,
    title: str = "Mean learning curves",
) -> Figure:
    """Plots the mean of a metric over seeds, with a band of one standard deviation, over epochs.

    Args:
        curves: For each of one to five settings, one curve per seed. A curve has one entry per
            epoch from the first on, NaN if it was not logged; curves may differ in length.
        metric: Name of the metric; if its last part is ``acc``, it is shown in per cent.
        title: Title of the figure.

    Raises:
        ValueError: If there are more than five settings.
    """
    if len(curves) > len(COLOURS):
        raise ValueError(f"curves has {len(curves)} settings; at most {len(COLOURS)} are distinct")
    figure, (axes,) = new_figure(title, 3.4 + 0.2 * len(curves))
    edges, last = [], []
    for colour, style, (label, seeds) in zip(COLOURS, LINE_STYLES, curves.items(), strict=False):
        table = np.ma.masked_invalid([*zip_longest(*seeds, fillvalue=nan)])  # epochs, seeds
        epochs = np.flatnonzero(table.count(axis=1))
        mean, std = (each[epochs].filled(nan) for each in (table.mean(1), table.std(1, ddof=1)))
        value = format_metric(mean[-1], metric) if len(mean) else "not logged"
        text = f"{shorten(label, 50)} {value}"
        axes.plot(epochs + 1, mean, color=colour, linestyle=style, marker=".", label=text)
        axes.fill_between(epochs + 1, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
        edges += [*mean, *(mean - std), *(mean + std)]
        last += [*mean[-1:]]
    limit_metric(axes, np.array(edges), last, metric)
    axes.set(xlabel="epoch", ylabel=shorten(metric, 28), xlim=(0.5, max(1, axes.dataLim.x1) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    figure.legend(loc="outside lower center", frameon=False)
    return figure


def _draw_trials(
    axes: Axes,
    x: Array,
    y: Array,
    colours: Array,
    is_complete: Array,
    numbers: Sequence[int],
    metric: str,
    maximize: bool,
) -> None:
    """Draws trials as points, much worse ones as arrows at the edge, and the best one as a star."""
    choose, is_logged = max if maximize else min, ~np.isnan(y)
    reference = y[is_complete if is_complete.any() else is_logged]
    best = choose(reference, default=nan)
    # A pruned trial may have a better value than the best complete trial.
    limit_metric(axes, reference, [best, choose(y[is_logged], default=nan)], metric)
    low, high = axes.get_ylim()
    arrow, word, edge = ("v", "below", low) if maximize else ("^", "above", high)
    is_worse = y < edge if maximize else y > edge
    inside = np.clip(y, low + 0.04 * (high - low), high - 0.04 * (high - low))
    worse = (is_worse, arrow, f"{word} {format_metric(edge, metric)}")
    for mask, marker, label in ((is_logged & ~is_worse, "o", None), worse):
        if mask.any():
            style: dict[str, Any] = {"marker": marker, "edgecolors": "white", "clip_on": False}
            axes.scatter(x[mask], inside[mask], 40, colours[mask], label=label, zorder=3, **style)
    if is_complete.any():
        trial = np.flatnonzero(is_complete & (y == best))[0]
        label = f"best: trial {numbers[trial]}, {format_metric(best, metric)}"
        axes.plot(x[trial], best, "*", color=VERMILION, ms=13, zorder=4, label=label, clip_on=False)


def _set_x_axis(axes: Axes, settings: Sequence[Any], is_log: bool) -> Array:
    """Returns the position of each setting of a hyperparameter, and adds ticks for them."""
    axes.tick_params(axis="x", labelsize=7)
    numbers = [s for s in settings if isinstance(s, int | float | np.number) and isfinite(s)]
    is_numeric = len(numbers) == len(settings) and not any(isinstance(s, bool) for s in settings)
    if is_numeric and min(numbers) < max(numbers):
        is_integer = not any(isinstance(number, float) for number in numbers)
        locator: Locator = MaxNLocator(3, integer=is_integer, min_n_ticks=1)
        if is_log and min(numbers) > 0:
            axes.set_xscale("log")
            axes.minorticks_off()
            ratio = max(numbers) / min(numbers)
            if ratio > 10:
                locator = LogLocator(subs=(1,) if ratio > 100 else (1, 3), numticks=4)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter("{x:.4g}")
        axes.update_datalim(np.array([(number, 0) for number in numbers]), updatey=False)
        axes.autoscale_view(scaley=False)
        return np.array(numbers, dtype=float)
    labels = [f"{s:.4g}" if isinstance(s, float) else str(s) for s in settings]
    names = list(dict.fromkeys(labels))
    ticks = range(0, len(names), ceil(len(names) / 12))
    is_long = sum(map(len, names)) > 15
    axes.set_xticks(ticks, [shorten(names[tick], 12) for tick in ticks], rotation=90 * is_long)
    axes.set_xlim(-0.6, len(names) - 0.4)
    return np.array([names.index(label) for label in labels], dtype=float)
