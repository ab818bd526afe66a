"""The figures of a hyperparameter sweep."""

from itertools import pairwise
from math import inf, nan

import numpy as np
import pytest
from drawings import pixels
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mnist_lightning.figures.style import VERMILION
from mnist_lightning.figures.sweep import (
    plot_importances,
    plot_mean_curves,
    plot_slices,
    plot_trials,
)

ACCURACIES = [0.98, 0.985, 0.1, nan, 0.99, 0.97, 0.988]
LONG = "model.init_args.some_module.a_long_name_of_a_parameter_" + "end"
IS_PRUNED = [False] * 5 + [True, False]


def points(axes: Axes) -> list[list[tuple[float, float]]]:
    """Returns the trials that are drawn: the points, then the arrows."""
    scatters = [each for each in axes.collections if isinstance(each, PathCollection)]
    return [[(x, y) for x, y in np.asarray(each.get_offsets()).tolist()] for each in scatters]


def legend_labels(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def tick_labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_xticklabels()]


def assert_nothing_is_cut_off(figure: Figure) -> None:
    picture = pixels(figure)
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()


def test_trials_show_the_best_value_so_far() -> None:
    figure = plot_trials(range(len(ACCURACIES)), ACCURACIES, IS_PRUNED, "val/acc", maximize=True)
    (axes,) = figure.axes
    line, best, failed = axes.get_lines()
    assert np.asarray(line.get_xydata()).tolist() == [
        [0, 0.98],
        [1, 0.985],
        [2, 0.985],
        [4, 0.99],
        [6, 0.99],
    ]
    assert np.asarray(best.get_xydata()).tolist() == [[4, 0.99]]
    assert np.asarray(failed.get_xdata()).tolist() == [3]
    labels = ["best so far", "best: trial 4, 99.00%", "failed"]
    assert set(labels) < set(legend_labels(figure))
    assert axes.get_ylabel() == "val/acc"
    assert "pruned trials are grey" in figure.get_suptitle()


@pytest.mark.parametrize("maximize", [True, False])
def test_bad_trials_are_arrows_at_the_edge(maximize: bool) -> None:
    values = ACCURACIES if maximize else [1 - value for value in ACCURACIES]
    figure = plot_trials(range(len(values)), values, IS_PRUNED, "val/error", maximize)
    low, high = figure.axes[0].get_ylim()
    assert high - low < 0.05  # not from 0.1 to 0.99
    shown, arrows = points(figure.axes[0])
    assert [x for x, _ in shown] == [0, 1, 4, 6]
    assert [x for x, _ in arrows] == [2, 5]
    y = arrows[0][1]
    assert low < y < high
    assert abs(y - (low if maximize else high)) < 0.05 * (high - low)
    expected = f"below {low:.4g}" if maximize else f"above {high:.4g}"
    assert expected in legend_labels(figure)


def test_pruned_trials_are_grey_and_never_the_best() -> None:
    figure = plot_trials(
        [0, 1, 2], [0.5, 0.51, 0.52], [False, False, True], "val/f1", maximize=True
    )
    (scatter,) = figure.axes[0].collections
    assert isinstance(scatter, PathCollection)
    blue, _, grey = np.asarray(scatter.get_facecolor())[:, :3]
    assert np.ptp(blue) > 0.3
    assert np.ptp(grey) == 0
    assert "best: trial 1, 0.51" in legend_labels(figure)
    assert figure.axes[0].get_ylim()[1] > 0.52  # even if it is better than the best one


@pytest.mark.parametrize("values", [[0.5], [nan] * 3, [inf], [0.5] * 4, [2e-9, 1e-9], [0.0, 0.0]])
@pytest.mark.parametrize("is_pruned", [False, True])
def test_draws_few_failed_and_equal_trials(values: list[float], is_pruned: bool) -> None:
    pruned = [is_pruned] * len(values)
    for maximize in (False, True):
        figure = plot_trials(range(len(values)), values, pruned, LONG, maximize)
        assert_nothing_is_cut_off(figure)
        parameters: dict[str, list[object]] = {"a": [0.1] * len(values), "b": ["x"] * len(values)}
        slices = plot_slices(range(len(values)), parameters, values, LONG, maximize, {"a"})
        assert_nothing_is_cut_off(slices)
        is_failed = not np.isfinite(values).any()
        for axes in (*figure.axes, *slices.axes):
            assert [text.get_text() for text in axes.texts] == ["no values"] * is_failed
    has_best = any("best" in label for label in legend_labels(figure))
    assert has_best == (not is_failed and not is_pruned)


def test_importances_are_sorted_bars() -> None:
    name = "trainer.accumulate_grad_batches"
    figure = plot_importances({"lr": 0.6, name: 0.3, LONG: 0.1})
    (axes,) = figure.axes
    assert [bar.get_bbox().width for bar in axes.patches if isinstance(bar, Rectangle)] == [
        0.1,
        0.3,
        0.6,
    ]  # from the bottom
    assert [text.get_text() for text in axes.texts] == ["10.0%", "30.0%", "60.0%"]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["…" + LONG[-35:], name, "lr"]
    assert_nothing_is_cut_off(figure)
    assert_nothing_is_cut_off(plot_importances({"a": 0.0}))


def test_slices_show_numbers_and_categories() -> None:
    parameters: dict[str, list[object]] = {
        "lr": [1e-4, 1e-3, 1e-2, 0.5, 0.1, 3e-3, 2e-3],
        "batch": [32, 64, 64, 64, 128, 128, 32],
        "ema": [True, False, True, True, False, True, True],
        "mixed": [None, 1, "a", "failed", 2.5, None, "long" * 5],
    }
    figure = plot_slices(
        range(len(ACCURACIES)), parameters, ACCURACIES, "val/acc", maximize=True, log_scaled=["lr"]
    )
    assert_nothing_is_cut_off(figure)
    assert [axes.get_xlabel() for axes in figure.axes] == list(parameters)
    assert [axes.get_xscale() for axes in figure.axes] == ["log", *["linear"] * 3]
    rates, _, ema, mixed = figure.axes
    assert len(rates.xaxis.get_minorticklocs()) == 0  # their labels would overlap
    assert tick_labels(ema) == ["True", "False"]
    assert tick_labels(mixed) == ["None", "1", "a", "failed", "2.5", "…onglonglong"]
    shown, arrows = points(rates)
    assert [x for x, _ in (*shown, *arrows)] == [1e-4, 1e-3, 0.1, 3e-3, 2e-3, 1e-2]  # not 0.5
    for axes, x in zip(figure.axes, (0.1, 128, 1, 4), strict=True):
        (best,) = axes.get_lines()
        assert np.asarray(best.get_xydata()).tolist() == [[x, 0.99]]
        assert to_rgb(str(best.get_color())) == to_rgb(VERMILION)
        assert not best.get_clip_on()  # it may lie at the edge
        assert axes.get_ylim() == rates.get_ylim()
    assert "best: trial 4, 99.00%" in legend_labels(figure)


def test_later_trials_are_darker() -> None:
    figure = plot_slices([4, 6, 9], {"a": [1, 2, 3]}, [0.1, 0.2, 0.3], "val/loss", maximize=False)
    (scatter,) = figure.axes[0].collections
    assert isinstance(scatter, PathCollection)
    brightness = np.asarray(scatter.get_facecolor())[:, :3].sum(axis=1)
    assert (np.diff(brightness) < 0).all()


@pytest.mark.parametrize(
    ("num_parameters", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (12, 3)]
)
def test_slices_are_arranged_in_rows(num_parameters: int, columns: int) -> None:
    values = np.linspace(0.9, 0.99, 30).tolist()
    kinds: list[list[object]] = [
        np.geomspace(1e-6, 1, 30).tolist(),
        np.linspace(1e-5, 2e-5, 30).tolist(),
        [f"/a/long/path/{index}" for index in range(30)],
    ]
    parameters = {f"{index}{LONG}": kinds[index % 3] for index in range(num_parameters)}
    figure = plot_slices(range(len(values)), parameters, values, "val/acc", True, list(parameters))
    assert_nothing_is_cut_off(figure)
    assert len(figure.axes) == num_parameters
    assert len({axes.get_position().x0 for axes in figure.axes}) == columns
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
        inside = [box for box in boxes if axes.bbox.x0 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1]
        assert len(inside) > 1
        for left, right in pairwise(inside):
            assert left.x1 < right.x0


def test_mean_curves_show_mean_and_deviation_of_seeds() -> None:
    curves = {"three": [[0.5, 0.9, nan, 0.96], [0.7, 0.94, nan], [nan]], "one": [[0.8, 0.9]]}
    figure = plot_mean_curves(curves, "val/acc")
    (axes,) = figure.axes
    three, one = axes.get_lines()
    assert np.asarray(three.get_xdata()).tolist() == [1, 2, 4]
    assert np.asarray(three.get_ydata()) == pytest.approx([0.6, 0.92, 0.96])
    assert np.asarray(one.get_ydata()).tolist() == [0.8, 0.9]
    assert legend_labels(figure) == ["three 96.00%", "one 90.00%"]
    band, no_band = axes.collections
    (path,) = band.get_paths()
    vertices = np.asarray(path.vertices)
    deviation = np.std([0.5, 0.7], ddof=1)
    at_first = vertices[vertices[:, 0] == 1, 1]
    assert (at_first.min(), at_first.max()) == pytest.approx((0.6 - deviation, 0.6 + deviation))
    assert no_band.get_paths() == []
    assert three.get_color() != one.get_color()
    assert three.get_linestyle() != one.get_linestyle()


def test_mean_curves_focus_on_the_later_epochs() -> None:
    good = [0.1, 0.97, 0.98, 0.985, 0.987, 0.988, 0.989, 0.99]
    figure = plot_mean_curves({"good": [good, good], "bad": [[0.95] * 8]}, "val/acc")
    low, high = figure.axes[0].get_ylim()
    assert 0.6 < low < 0.95  # the last value of each setting is shown
    assert 0.99 < high < 1.1


def test_mean_curves_draw_extremes() -> None:
    for curves in (
        {"a": [[nan]]},
        {"a": [[0.5]]},
        {LONG + str(i): [[1.0, 2.0]] for i in range(5)},
    ):
        assert_nothing_is_cut_off(plot_mean_curves(curves, LONG, LONG))
    assert legend_labels(plot_mean_curves({"a": [[nan]]}, "val/acc")) == ["a not logged"]
    with pytest.raises(ValueError, match="curves has 6 settings; at most 5"):
        plot_mean_curves({str(index): [[1.0]] for index in range(6)}, "val/acc")
