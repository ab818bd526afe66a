"""The results of a sweep: a table, ``trials.csv``, ``best.yaml`` and figures."""

import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from mnist_lightning.figures.publish import render_png
from mnist_lightning.figures.sweep import (
    plot_importances,
    plot_mean_curves,
    plot_slices,
    plot_trials,
)
from mnist_lightning.files import write_atomically
from mnist_lightning.sweeps.progress import (
    STATE_NAMES,
    format_mean,
    format_value,
    get_objective,
    rank_trials,
)
from mnist_lightning.sweeps.settings import SEED, SweepSettings
from mnist_lightning.sweeps.space import Range, shorten, to_text
from mnist_lightning.sweeps.study import SweepStudy, trial_folder
from mnist_lightning.sweeps.trial_runner import read_result

MAX_ROWS = 5
MIN_TRIALS_FOR_IMPORTANCE = 10
COLUMNS = ("trial", "state", "objective", "standard_error", "seconds")
SEED_METRICS = ("val/acc", "val/loss", "test/acc", "test/loss")


@dataclass(frozen=True)
class SweepReport:
    """The trials of a sweep, best first.

    Args:
        study: The study.
        settings: The settings of the sweep.
        folder: The folder of the sweep.
    """

    study: SweepStudy
    settings: SweepSettings
    folder: Path

    @cached_property
    def trials(self) -> list[FrozenTrial]:
        """The trials, by number."""
        return self.study.trials

    @cached_property
    def ranking(self) -> list[FrozenTrial]:
        """The complete trials, best first."""
        return rank_trials(self.trials, self.settings.maximize)

    @cached_property
    def importances(self) -> dict[str, float]:
        """How much each parameter matters (PED-ANOVA; Watanabe et al., 2023), 1 in total."""
        values = {trial.value for trial in self.ranking}
        is_informative = len(self.ranking) >= MIN_TRIALS_FOR_IMPORTANCE and len(values) > 1
        if not is_informative or len(self.settings.parsed_space) < 2:
            return {}
        return get_param_importances(self.study.study, evaluator=PedAnovaImportanceEvaluator())

    def table(self) -> str:
        """Returns the best settings as a table, or the mean over seeds."""
        if self.settings.has_only_seeds:
            means = self.means.items()
            lines = [f"  {name:<9}  {format_mean(*values, name)}" for name, values in means]
            title = f"Mean and standard deviation over {len(self.ranking)} seeds:"
            return "\n".join([title, *lines])
        names, objective = list(self.settings.parsed_space), self.settings.objective
        rows = [["Trial", objective, *_short_names(names)]]
        for trial in self.ranking[:MAX_ROWS]:
            value = format_mean(get_objective(trial), trial.user_attrs["standard_error"], objective)
            parameters = (format_value(trial.params[name]) for name in names)
            rows.append([str(trial.number), value, *parameters])
        if importances := self.importances:
            rows.append(["", "importance", *(f"{importances[name]:.0%}" for name in names)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in rows
        )

    @property
    def means(self) -> dict[str, tuple[float, float | None]]:
        """Mean of each metric of the weights over all trials, and its standard deviation.

        That of a single trial is None.
        """
        metrics = [trial.user_attrs["metrics"][0] for trial in self.ranking]
        means = {}
        for name in SEED_METRICS:
            if values := [values[name] for values in metrics if name in values]:
                deviation = statistics.stdev(values) if len(values) > 1 else None
                means[name] = statistics.fmean(values), deviation
        return means

    def results(self) -> dict[str, Any]:
        """Returns the best trial, or the means over seeds, as in ``results.json``."""
        results: dict[str, Any] = {"folder": str(self.folder)}
        if self.settings.has_only_seeds:
            results["seeds"] = len(self.ranking)
            for name, (mean, deviation) in self.means.items():
                results |= {name: mean, f"{name}_std": deviation}
            return results
        best = self.ranking[0]
        parameters = {name: shorten(value) for name, value in best.params.items()}
        results |= {"trial": best.number, "parameters": parameters}
        results |= {self.settings.objective: best.value}
        return results | {"standard_error": best.user_attrs["standard_error"]}

    def write(self, best_config: Mapping[str, Any] | None) -> None:
        """Writes all files.

        Args:
            best_config: The options of the best trial that are not the defaults.
        """
        write_atomically(self.folder / "trials.csv", self._to_csv().encode())
        if best_config is not None:
            text = f"# Trial {self.ranking[0].number} of the sweep {self.folder.name}.\n"
            text += yaml.safe_dump(dict(best_config), sort_keys=False)
            write_atomically(self.folder / "best.yaml", text.encode())
        for name, figure in self.figures():
            write_atomically(self.folder / f"{name}.png", render_png(figure))

    def _to_csv(self) -> str:
        names = list(self.settings.parsed_space)
        metrics = SEED_METRICS if self.settings.has_only_seeds else ()
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *names, *metrics, "reason"])
        for trial in self.trials:
            attributes = trial.user_attrs
            results = (attributes.get("metrics") or [{}])[0]
            writer.writerow(
                [
                    trial.number,
                    STATE_NAMES[trial.state],
                    "" if trial.value is None else trial.value,
                    attributes.get("standard_error", ""),
                    attributes.get("seconds", ""),
                    *(
                        to_text(trial.params[name]) if name in trial.params else ""
                        for name in names
                    ),
                    *(results.get(name, "") for name in metrics),
                    attributes.get("reason", ""),
                ]
            )
        return file.getvalue()

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Yields the name of each figure, and the figure."""
        settings, objective = self.settings, self.settings.objective
        if curves := self._curves():
            yield "curves", plot_mean_curves(curves, objective)
        ended = [trial for trial in self.trials if trial.state.is_finished()]
        if settings.has_only_seeds or not ended:
            return
        numbers = [trial.number for trial in ended]
        values = [get_objective(trial) for trial in ended]
        is_pruned = [trial.state == TrialState.PRUNED for trial in ended]
        yield "trials", plot_trials(numbers, values, is_pruned, objective, settings.maximize)
        if importances := self.importances:
            yield "importances", plot_importances(importances)
        complete = sorted(self.ranking, key=lambda trial: trial.number)
        if complete:
            space = settings.parsed_space.items()
            yield (
                "slices",
                plot_slices(
                    [trial.number for trial in complete],
                    {name: [trial.params[name] for trial in complete] for name, _ in space},
                    [get_objective(trial) for trial in complete],
                    objective,
                    settings.maximize,
                    [name for name, values in space if isinstance(values, Range) and values.log],
                ),
            )

    def _curves(self) -> dict[str, list[list[float]]]:
        """Returns for the best settings the objective of each seed in each epoch."""
        curves: dict[str, list[list[float]]] = {}
        for trial in self.ranking if self.settings.has_only_seeds else self.ranking[:MAX_ROWS]:
            folder = trial_folder(self.folder, trial.number)
            label = "all seeds" if self.settings.has_only_seeds else f"trial {trial.number}"
            for repeat in range(self.settings.repeats):
                result = read_result(folder / f"repeat_{repeat}")  # None: on another machine
                rows = result.history if result else []
                curve = [row.get(self.settings.objective, float("nan")) for row in rows]
                if any(map(math.isfinite, curve)):
                    curves.setdefault(label, []).append(curve)
        return curves


def _short_names(names: Sequence[str]) -> list[str]:
    """Returns the last parts of dotted names, or the names themselves if these are ambiguous."""
    short_names = [name.rpartition(".")[2] for name in names]
    return short_names if len(set(short_names)) == len(names) else list(names)


def diff_from_defaults(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a nested config that differ from the defaults.

    The seed is left out.
    """
    result: dict[str, Any] = {}
    for name, value in config.items():
        default = defaults.get(name)
        if isinstance(value, dict) and isinstance(default, dict) and "class_path" not in value:
            if nested := diff_from_defaults(value, default):
                result[name] = nested
        elif value != default and name != SEED:
            result[name] = value
    return result
