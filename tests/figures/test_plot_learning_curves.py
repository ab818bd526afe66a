"""The figure of the learning curves."""

from math import nan

import numpy as np
import pytest
from drawings import pixels
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnist_lightning.figures.learning_curves import plot_learning_curves

HISTORY = {
    "train/loss": [0.5, 0.3, 0.2],
    "val/loss": [0.4, 0.25, 0.3],
    "train/acc": [0.8, 0.9, 0.95],
    "val/acc": [0.85, 0.93, 0.92],
}


def data(line: Line2D) -> tuple[list[float], list[float]]:
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def legend_labels(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_shows_training_and_validation_metrics() -> None:
    figure = plot_learning_curves(HISTORY, title="MNIST")
    assert figure.get_suptitle() == "MNIST"
    loss, accuracy = figure.axes
    assert accuracy.get_xlabel() == "epoch"  # for both axes
    assert "loss" in loss.get_ylabel()
    assert "accuracy" in accuracy.get_ylabel()
    for axes, metric in ((loss, "loss"), (accuracy, "acc")):
        train, val, best = axes.get_lines()
        assert data(train) == ([1, 2, 3], HISTORY[f"train/{metric}"])
        assert data(val) == ([1, 2, 3], HISTORY[f"val/{metric}"])
        assert set(data(best)[0]) == {2}  # the epoch of the lowest validation loss
        assert train.get_color() != val.get_color()
        assert train.get_linestyle() != val.get_linestyle()  # for readers without colours
        assert train.get_marker() != val.get_marker()
    assert [legend_labels(axes) for axes in figure.axes] == [
        ["training 0.2000", "validation 0.3000", "best epoch 2: 0.2500"],
        ["training 95.00%", "validation 92.00%", "best epoch 2: 93.00%"],
    ]
    assert accuracy.get_xlim() == loss.get_xlim()


def test_skips_epochs_without_a_value() -> None:
    history = HISTORY | {"val/loss": [nan, 0.25, nan], "val/acc": [nan, nan, nan]}
    loss, accuracy = plot_learning_curves(history).axes
    assert data(loss.get_lines()[1]) == ([2], [0.25])
    assert legend_labels(accuracy) == ["training 95.00%", "best epoch 2"]


def test_supports_runs_without_validation_and_with_one_epoch() -> None:
    no_validation = {"val/loss": [nan] * 3, "val/acc": [nan] * 3}
    loss, _ = plot_learning_curves(HISTORY | no_validation).axes
    assert len(loss.get_lines()) == 1  # neither a validation curve nor a best epoch
    no_accuracy = {"train/acc": [nan] * 3}
    loss, accuracy = plot_learning_curves(HISTORY | no_validation | no_accuracy).axes
    assert accuracy.get_legend() is None
    assert [text.get_text() for text in accuracy.texts] == ["not logged"]
    pixels(plot_learning_curves({name: values[:1] for name, values in HISTORY.items()}))


def test_updated_figure_equals_a_new_one() -> None:
    all_nan = {name: [nan] * 3 for name in HISTORY}
    first_epoch = {name: values[:1] for name, values in HISTORY.items()}
    figure = plot_learning_curves(all_nan)
    pixels(figure)
    for history in (HISTORY, first_epoch):
        updated = plot_learning_curves(history, title="updated", figure=figure)
        assert updated is figure
        new = plot_learning_curves(history, title="updated")
        assert np.array_equal(pixels(updated), pixels(new))
    plot_learning_curves(all_nan, figure=figure)
    for axes in figure.axes:
        assert (axes.get_legend(), axes.get_lines()[:]) == (None, [])


def test_accepts_names_of_metrics() -> None:
    history = {"a": [1.0], "b": [2.0], "c": [0.1], "d": [0.2]}
    loss, accuracy = plot_learning_curves(history, loss=("a", "b"), accuracy=("c", "d")).axes
    assert [data(line)[1] for line in loss.get_lines()[:2]] == [[1], [2]]
    assert [data(line)[1] for line in accuracy.get_lines()[:2]] == [[0.1], [0.2]]


def test_rejects_lists_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="train/acc has 3, val/acc has 2"):
        plot_learning_curves(HISTORY | {"val/acc": [0.1, 0.2]})
