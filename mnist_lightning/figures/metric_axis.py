"""Parts of the figures that show a metric."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mnist_lightning.figures.style import WIDTH_INCHES, write_title


def new_figure(
    title: str, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Returns a figure, whose layout adapts to labels and legend, and its axes, row by row."""
    figure = Figure(figsize=(WIDTH_INCHES, height))
    figure.set_layout_engine("constrained", rect=(0.01, 0, 0.98, 1 - 0.36 / height))
    write_title(figure, title)
    return figure, [*figure.subplots(rows, columns, sharey=True, squeeze=False).flat]


def format_metric(value: float, metric: str) -> str:
    """Returns a value as text: in per cent if the last part of the metric's name is ``acc``."""
    return f"{value:.2%}" if metric.split("/")[-1] == "acc" else f"{value:.4g}"


def shorten(text: str, max_length: int) -> str:
    """Cuts off the beginning of a long text, because names often share it."""
    return text if len(text) <= max_length else f"…{text[1 - max_length :]}"


def limit_metric(axes: Axes, values: np.ndarray, targets: list[float], metric: str) -> None:
    """Limits the y-axis to the targets and to values near them, so that outliers stay outside.

    Args:
        axes: Axes of the metric.
        values: Values of the metric, not all of which must be visible; NaN is ignored.
        targets: Values that must be visible.
        metric: Name of the metric.
    """
    axes.spines[["top", "right"]].set_visible(False)
    values = values[np.isfinite(values)]
    if not len(values):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, color="0.4", ha="center")
        axes.set_yticks([])
        return
    deviations = abs(values - np.median(values))
    reach = 3 * max(*abs(targets - np.median(values)), np.median(deviations)) or np.inf
    is_near = (values >= min(targets) - reach) & (values <= max(targets) + reach)
    shown = np.array([*targets, *values[is_near]])
    margin = 0.1 * np.ptp(shown) or 0.01 * abs(shown[0]) or 0.01
    axes.set_ylim(shown.min() - margin, shown.max() + margin)
    is_accuracy = format_metric(1, metric).endswith("%")
    axes.yaxis.set_major_formatter("{x:.2%}" if is_accuracy else ScalarFormatter(useOffset=False))
    axes.grid(axis="y", color="0.9")
