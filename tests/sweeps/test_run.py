"""Sweeps whose fits are simulated."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from mnist_lightning.callbacks.save_history import read_history
from mnist_lightning.errors import UserError
from mnist_lightning.sweeps import run, trial_runner
from mnist_lightning.sweeps.fit_process import FitCommand
from mnist_lightning.sweeps.report import SweepReport, difference
from mnist_lightning.sweeps.run import Sweep
from mnist_lightning.sweeps.settings import SweepSettings

RANGE = {"model.dropout": {"low": 0.0, "high": 0.5}}
EPOCHS = 4


class SimulatedFit:
    """A fit that takes one step of the sweep for each epoch; its accuracy is that of ``score``."""

    score: Callable[[dict[str, str], int], float] = staticmethod(lambda options, epoch: 0.0)
    started: list[tuple[Path, dict[str, str]]]
    steps_left = math.inf
    """Steps until Ctrl-C."""

    def __init__(
        self, folder: Path, command: FitCommand, options: Sequence[str], slot: int
    ) -> None:
        self.folder = folder
        self._options = dict(option.removeprefix("--").split("=") for option in options)
        self._run = folder / "lightning_logs" / "version_0"
        self._run.mkdir(parents=True, exist_ok=True)
        self._epoch = len(read_history(self._run / "history.csv"))  # it resumes
        type(self).started.append((folder, self._options))

    def exit_code(self) -> int | None:
        type(self).steps_left -= 1
        if type(self).steps_left < 0:
            raise KeyboardInterrupt
        self._epoch += 1
        if "fail" in self._options.values():
            return 1
        values = [self.score(self._options, epoch) for epoch in range(1, self._epoch + 1)]
        rows = [f"{i},{i},1.0,{value}" for i, value in enumerate(values, 1)]
        (self._run / "history.csv").write_text("\n".join(["epoch,step,seconds,val/acc", *rows]))
        if self._epoch < EPOCHS:
            return None
        results = {"val/acc": values[-1], "val/loss": 1 - values[-1], "checkpoint_epoch": EPOCHS}
        if self._options["test_after_fit"] == "true":
            results["test/acc"] = values[-1] / 2
        (self._run / "results.json").write_text(json.dumps(results))
        return 0

    def failure(self) -> str:
        return "simulated"

    def terminate(self) -> None:
        """Does nothing, because the fit makes no step by itself."""

    stop = terminate


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> type[SimulatedFit]:
    """Simulates all fits, without waiting."""
    kind = type("Simulated", (SimulatedFit,), {"started": []})
    monkeypatch.setattr(trial_runner, "FitProcess", kind)
    monkeypatch.setattr(run, "FitProcess", kind)
    monkeypatch.setattr(run, "POLL_SECONDS", 0)
    return kind


def sweep(root: Path, lines: list[str] | None = None, **settings: Any) -> SweepReport:
    """Executes a sweep; its report can be read from any process."""
    options = SweepSettings(**{"space": RANGE, "sampler": "random", "prune": False, **settings})
    sweep = Sweep(options, {"seed_everything": 7, "model": {}}, root, "sweep", ("m", "d"))
    with sweep.open() as study:
        sweep.execute(study, (lines if lines is not None else []).append)
        return SweepReport(study.study, options, sweep.folder)


def dropout(options: dict[str, str], epoch: int) -> float:
    return float(options["model.dropout"])


def test_the_best_trial_has_the_best_objective(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(dropout)
    report = sweep(tmp_path, trials=10)
    values = [trial.params["model.dropout"] for trial in report.trials]
    assert [trial.value for trial in report.trials] == values
    assert [trial.value for trial in report.ranking] == sorted(values, reverse=True)
    report = sweep(tmp_path / "min", trials=10, objective="val/loss")
    assert report.ranking[0].params["model.dropout"] == max(values)
    assert report.ranking[0].value == 1 - max(values)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("prune", [False, True])
def test_an_interrupted_sweep_has_the_same_trials(
    tmp_path: Path, simulated: type[SimulatedFit], steps: int, prune: bool
) -> None:
    simulated.score = staticmethod(lambda options, epoch: epoch * dropout(options, epoch))
    expected = sweep(tmp_path / "expected", trials=12, prune=prune).trials
    assert (TrialState.PRUNED in {trial.state for trial in expected}) == prune
    simulated.started.clear()
    report = None
    num_interruptions = 0
    while report is None:
        simulated.steps_left = steps
        try:
            report = sweep(tmp_path, trials=12, prune=prune)
        except KeyboardInterrupt:
            num_interruptions += 1
    assert num_interruptions >= 5
    for trial, other in zip(report.trials, expected, strict=True):
        assert (trial.params, trial.state) == (other.params, other.state)
        assert trial.values == other.values
        assert trial.intermediate_values == other.intermediate_values
    folders = [folder for folder, _ in simulated.started]
    assert list(dict.fromkeys(folders)) == sorted(set(folders))  # one after the other


def test_a_complete_sweep_starts_nothing(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    sweep(tmp_path, trials=3)
    simulated.started.clear()
    assert len(sweep(tmp_path, trials=3).trials) == 3
    assert not simulated.started
    assert len(sweep(tmp_path, trials=5).trials) == 5
    assert len(simulated.started) == 2


def test_repeats_have_different_seeds_and_the_score_is_their_mean(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(lambda options, epoch: float(options["seed_everything"]))
    (trial,) = sweep(tmp_path, trials=1, repeats=3).trials
    assert [options["seed_everything"] for _, options in simulated.started] == ["7", "8", "9"]
    assert trial.value == 8
    assert trial.user_attrs["standard_error"] == pytest.approx(1 / math.sqrt(3))
    assert trial.user_attrs["seconds"] == 3 * EPOCHS


def test_trials_never_read_the_test_images(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    sweep(tmp_path, trials=3)
    assert {options["test_after_fit"] for _, options in simulated.started} == {"false"}
    space = {"seed_everything": [1, 2]}
    report = sweep(tmp_path / "seeds", space=space, sampler="grid", test=True)
    assert [options["test_after_fit"] for _, options in simulated.started[3:]] == ["true"] * 2
    assert {options["seed_everything"] for _, options in simulated.started[3:]} == {"1", "2"}
    assert "test/acc" in report.table()
    assert report.results()["seeds"] == 2


def test_mean_and_standard_deviation_over_seeds(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(lambda options, epoch: int(options["seed_everything"]) / 10)
    report = sweep(tmp_path, space={"seed_everything": [1, 2, 6]}, sampler="grid", test=True)
    results = report.results()
    assert results["val/acc"] == pytest.approx(0.3)
    assert results["val/acc_std"] == pytest.approx(math.sqrt(0.14 / 2))
    assert results["test/acc"] == pytest.approx(0.15)
    assert "  val/acc  30.00% ± 26.46%" in report.table().splitlines()
    report.write(None)
    assert not (report.folder / "best.yaml").exists()


def test_a_failed_trial_does_not_end_the_sweep(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    lines: list[str] = []
    space = {"model.network": ["fail", "work"]}
    report = sweep(tmp_path, lines, space=space, sampler="grid")
    states = {trial.params["model.network"]: trial.state for trial in report.trials}
    assert states == {"fail": TrialState.FAIL, "work": TrialState.COMPLETE}
    assert any(line.endswith("failed: simulated (model.network fail)") for line in lines)
    report.write({})
    with (report.folder / "trials.csv").open() as file:
        reasons = {row["model.network"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {"fail": "simulated", "work": ""}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_objective_that_is_not_finite_is_a_failure(
    tmp_path: Path, simulated: type[SimulatedFit], value: float
) -> None:
    simulated.score = staticmethod(lambda options, epoch: value)
    (trial,) = sweep(tmp_path, trials=1).trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["reason"] == "val/acc is not finite"


def test_unpromising_trials_are_pruned(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    scores = [0.5, 0.6, 0.7, 0.8, 0.9, 0.1, 0.95]

    def score(options: dict[str, str], epoch: int) -> float:
        return scores[len(simulated.started) - 1]

    simulated.score = staticmethod(score)
    lines: list[str] = []
    report = sweep(tmp_path, lines, trials=7, prune=True)
    states = [trial.state for trial in report.trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED, TrialState.COMPLETE]
    assert list(report.trials[5].intermediate_values) == [1, 2]
    assert any(line.startswith("Trial 5: pruned: below the median") for line in lines)
    assert report.ranking[0].number == 6


def test_several_jobs_execute_each_trial_once(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(dropout)
    report = sweep(tmp_path, trials=7, jobs=3)
    assert sorted(folder.parent.name for folder, _ in simulated.started) == [
        f"trial_{number:04d}" for number in range(7)
    ]
    expected = sweep(tmp_path / "one", trials=7)
    assert [trial.value for trial in report.trials] == [trial.value for trial in expected.trials]


def test_no_trial_starts_after_the_timeout(
    tmp_path: Path, simulated: type[SimulatedFit], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(10**6))
    monkeypatch.setattr("mnist_lightning.sweeps.run.time.monotonic", lambda: float(next(seconds)))
    report = sweep(tmp_path, trials=1000, timeout=50.0)
    assert 1 < len(report.trials) < 50
    assert {trial.state for trial in report.trials} == {TrialState.COMPLETE}


def test_an_objective_that_is_never_logged(tmp_path: Path) -> None:
    message = "--objective is 'val/f1', which no fit logs; use one of val/acc, val/loss"
    with pytest.raises(UserError, match=message):
        sweep(tmp_path, objective="val/f1")


def test_the_final_training_is_tested_once_with_a_new_seed(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(lambda options, epoch: 0.5)
    options = SweepSettings(RANGE, trials=2, repeats=2, final=True)
    final = Sweep(options, {"seed_everything": 7}, tmp_path, "sweep", ("m", "d"))
    with final.open() as study:
        final.execute(study, print)
        best = SweepReport(study.study, options, final.folder).ranking[0]
        simulated.started.clear()
        for _ in range(2):
            assert final.train_final(best).metrics["test/acc"] == 0.25
    ((_, used),) = simulated.started
    assert used["seed_everything"] == "9"
    assert used["test_after_fit"] == "true"
    assert used["model.dropout"] == str(best.params["model.dropout"])


def test_table_and_files(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    simulated.score = staticmethod(dropout)
    space = {**RANGE, "data.batch_size": [32, 64]}
    report = sweep(tmp_path, space=space, trials=12, repeats=2)
    header, first, *_, importance = report.table().splitlines()
    assert header.split() == ["Trial", "val/acc", *space]
    best = report.ranking[0]
    assert first.split()[:2] == [str(best.number), f"{best.value:.2%}"]
    assert importance.split()[0] == "importance"
    assert sum(int(share.removesuffix("%")) for share in importance.split()[1:]) in (99, 100, 101)
    report.write({"model": {"dropout": 0.5}})
    names = {path.name for path in report.folder.iterdir()}
    figures = {"trials.png", "slices.png", "importances.png", "curves.png"}
    assert figures | {"best.yaml", "trials.csv"} <= names
    with (report.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["objective"]) for row in rows] == [trial.value for trial in report.trials]


def test_difference_to_the_defaults() -> None:
    defaults = {
        "seed_everything": 0,
        "model": {"dropout": 0.2, "network": None},
        "trainer": {"logger": True, "profiler": {"class_path": "A", "init_args": {"x": 1}}},
    }
    network = {"class_path": "nets.Net", "init_args": {"width": 3}}
    profiler = {"class_path": "A", "init_args": {"x": 2}}
    config = {
        "seed_everything": 3,
        "model": {"dropout": 0.2, "network": network},
        "trainer": {"logger": True, "profiler": profiler},
    }
    assert difference(config, defaults) == {
        "model": {"network": network},
        "trainer": {"profiler": profiler},
    }
    assert difference(defaults, defaults) == {}
