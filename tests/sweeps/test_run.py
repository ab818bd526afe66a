"""Sweeps whose fits are simulated."""

import csv
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from simulated_fit import EPOCHS, SimulatedFit, simulate_fits

from mnist_lightning.errors import UserError
from mnist_lightning.sweeps import trial_runner
from mnist_lightning.sweeps.report import SweepReport, diff_from_defaults
from mnist_lightning.sweeps.run import Sweep
from mnist_lightning.sweeps.settings import SweepSettings
from mnist_lightning.sweeps.space import to_text
from mnist_lightning.sweeps.study import trial_folder
from mnist_lightning.sweeps.trial_runner import FitResult

RANGE = {"model.dropout": {"low": 0.0, "high": 0.5}}


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> type[SimulatedFit]:
    """Simulates all fits."""
    return simulate_fits(monkeypatch)


def sweep(root: Path, lines: list[str] | None = None, **settings: Any) -> SweepReport:
    """Executes a sweep; its report can be read from any process."""
    options = SweepSettings(**{"space": RANGE, "sampler": "random", "prune": False, **settings})
    sweep = Sweep(options, {"seed_everything": 7, "model": {}}, root, "sweep", ("m", "d"))
    with sweep.open() as study:
        sweep.execute(study, (lines if lines is not None else []).append)
        return SweepReport(study, options, sweep.folder)


def dropout(options: dict[str, str], epoch: int) -> float:
    return float(options["model.dropout"])


def test_the_best_trial_has_the_best_objective(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(dropout)
    report = sweep(tmp_path, trials=10)
    values = [float(to_text(trial.params["model.dropout"])) for trial in report.trials]
    assert [trial.value for trial in report.trials] == values
    assert [trial.value for trial in report.ranking] == sorted(values, reverse=True)
    report = sweep(tmp_path / "min", trials=10, objective="val/loss")
    assert float(to_text(report.ranking[0].params["model.dropout"])) == max(values)
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


def test_an_interrupted_trial_keeps_the_repeats_that_are_complete(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(lambda options, epoch: float(options["seed_everything"]))
    simulated.steps_left = EPOCHS + 1
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, trials=1, repeats=3)
    simulated.steps_left = math.inf
    (trial,) = sweep(tmp_path, trials=1, repeats=3).trials
    assert trial.value == 8
    assert trial.user_attrs["seconds"] == 3 * EPOCHS
    seeds = [options["seed_everything"] for _, options in simulated.started]
    assert seeds == ["7", "8", "8", "9"]  # the second one was interrupted


def test_trials_never_read_the_test_images(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    sweep(tmp_path, trials=3)
    assert {options["test_after_fit"] for _, options in simulated.started} == {"false"}
    space = {"seed_everything": [1, 2]}
    report = sweep(tmp_path / "seeds", space=space, sampler="grid", test=True)
    assert [options["test_after_fit"] for _, options in simulated.started[3:]] == ["true"] * 2
    assert {options["seed_everything"] for _, options in simulated.started[3:]} == {"1", "2"}
    assert "test/acc" in report.table()
    assert report.results()["seeds"] == 2


def test_a_single_value_has_no_standard_error(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    report = sweep(tmp_path / "search", trials=1)
    assert report.results()["standard_error"] is None
    assert "±" not in report.table()
    report.write({})
    with (report.folder / "trials.csv").open() as file:
        assert [row["standard_error"] for row in csv.DictReader(file)] == [""]
    report = sweep(tmp_path / "seeds", space={"seed_everything": [3]}, sampler="grid")
    assert report.results()["val/acc_std"] is None
    assert "±" not in report.table()


def test_mean_and_standard_deviation_over_seeds(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(lambda options, epoch: int(options["seed_everything"]) / 10)
    report = sweep(tmp_path, space={"seed_everything": [1, 2, 6]}, sampler="grid", test=True)
    results = report.results()
    assert results["val/acc"] == pytest.approx(0.3)
    assert results["val/acc_std"] == pytest.approx(math.sqrt(0.14 / 2))
    assert results["test/acc"] == pytest.approx(0.15)
    assert "  val/acc    30.00% ± 26.46%" in report.table().splitlines()
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
    assert any(line.startswith("Trial 5: pruned: worse than the median") for line in lines)
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


def test_a_trial_without_the_objective_fails_if_others_have_it(
    tmp_path: Path, simulated: type[SimulatedFit], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(tmp_path, trials=1)
    exit_code = simulated.exit_code

    def without_metrics(fit: SimulatedFit) -> int | None:
        code = exit_code(fit)
        if code == 0:
            (fit.folder / "lightning_logs/version_0/history.csv").write_text("epoch,step,seconds\n")
            (fit.folder / "lightning_logs/version_0/results.json").write_text("{}")
        return code

    monkeypatch.setattr(simulated, "exit_code", without_metrics)
    states = [trial.state for trial in sweep(tmp_path, trials=2).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL]


def test_a_fit_without_a_result_is_a_failure(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    report = sweep(tmp_path, space={"model.network": ["empty"]}, sampler="grid")
    assert report.trials[0].user_attrs["reason"] == "the fit has no result"


def test_a_full_disk_stops_the_sweep_and_the_trial_resumes(
    tmp_path: Path, simulated: type[SimulatedFit], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"model.network": ["fail"]}
    with monkeypatch.context() as patch:
        reason = "cannot read or write history.csv (No space left on device)"
        patch.setattr(simulated, "describe_failure", lambda self: reason)
        with pytest.raises(UserError, match=r"trial 0 stopped: .* \(No space left on device\)"):
            sweep(tmp_path, space=space, sampler="grid")
    with monkeypatch.context() as patch:
        patch.setattr(simulated, "exit_code", lambda self: SimulatedFit.exit_code(self) and None)
        patch.setattr(trial_runner, "read_result", lambda folder: None)
        simulated.steps_left = 3
        with pytest.raises(KeyboardInterrupt):
            sweep(tmp_path, space=space, sampler="grid")
    assert [folder.parent.name for folder, _ in simulated.started] == ["trial_0000"] * 2


def test_trials_of_another_storage_are_not_used(tmp_path: Path) -> None:
    sweep(tmp_path, trials=1)
    storage = f"sqlite:///{tmp_path / 'other.db'}"
    message = r"contains trials of another storage; delete it, or choose another --name"
    with pytest.raises(UserError, match=message):
        sweep(tmp_path, trials=1, storage=storage)
    (tmp_path / "lightning_logs/sweeps/sweep/journal.log").unlink()
    with pytest.raises(UserError, match=message):
        sweep(tmp_path, trials=1)


def test_another_model_is_another_sweep(tmp_path: Path) -> None:
    sweep(tmp_path, trials=1)
    options = SweepSettings(RANGE, sampler="random", prune=False)
    other = Sweep(options, {"seed_everything": 7, "model": {}}, tmp_path, "sweep", ("m", "d2"))
    message = "started with the classes m and d, and this command is with the classes m and d2"
    with pytest.raises(UserError, match=message), other.open():
        pass


def test_the_final_training_has_a_seed_that_no_trial_had(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    space = {"seed_everything": [7, 8, 9], **RANGE}
    options = SweepSettings(space, trials=2, final=True)
    final = Sweep(options, {"seed_everything": 7}, tmp_path, "sweep", ("m", "d"))
    with final.open() as study:
        final.execute(study, print)
        best = SweepReport(study, options, final.folder).ranking[0]
        final.train_final(best)
    assert simulated.started[-1][1]["seed_everything"] == "10"


def test_the_final_seed_is_above_a_range_of_seeds(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    space = {"seed_everything": {"low": 1, "high": 4_000_000_000}, **RANGE}
    options = SweepSettings(space, trials=1, final=True, sampler="random")
    final = Sweep(options, {"seed_everything": 0}, tmp_path, "sweep", ("m", "d"))
    with final.open() as study:
        final.execute(study, print)
        final.train_final(study.trials[0])
    assert simulated.started[-1][1]["seed_everything"] == "4000000001"


def test_a_final_training_that_fails(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    options = SweepSettings(RANGE, trials=1, final=True)
    final = Sweep(options, {"seed_everything": 7}, tmp_path, "sweep", ("m", "d"))
    with final.open() as study:
        final.execute(study, print)
        (best,) = study.trials
        best.params["model.network"] = "fail"
        with pytest.raises(UserError, match="the final training failed: simulated"):
            final.train_final(best)


def test_the_objective_may_be_in_the_history_only() -> None:
    history = [{"epoch": 1.0, "train/acc": 0.5}, {"epoch": 2.0, "train/acc": 0.6}]
    result = FitResult({"checkpoint_epoch": 1}, history)
    assert result.objective("train/acc") == 0.5


@pytest.mark.parametrize("objective", ["dataset", "seed", "parameters"])
def test_an_objective_that_is_not_a_metric(tmp_path: Path, objective: str) -> None:
    with pytest.raises(UserError, match=f"--objective is '{objective}', which no fit logs"):
        sweep(tmp_path, objective=objective)


def test_fewer_trials_than_before(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    simulated.steps_left = 2 * EPOCHS + 1  # in the third trial
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, trials=5)
    simulated.steps_left = math.inf
    simulated.started.clear()
    sweep(tmp_path, trials=2)
    assert not simulated.started


def test_the_results_have_the_values_that_the_fit_received(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    results = sweep(tmp_path, trials=1).results()
    (_, options), *_ = simulated.started
    assert str(results["parameters"]["model.dropout"]) == options["model.dropout"]


def test_the_figures_name_the_best_trial(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    simulated.score = staticmethod(dropout)
    report = sweep(tmp_path, trials=12)
    best = report.ranking[0].number
    assert best > 0
    figures = dict(report.figures())
    points = np.concatenate([dots.get_offsets() for dots in figures["slices"].axes[0].collections])
    parameters = [trial.params["model.dropout"] for trial in report.trials]
    in_view = [value for value in parameters if value in points[:, 0]]
    assert points[: len(in_view), 0].tolist() == in_view  # later trials are drawn darker
    for name in ("trials", "slices"):
        (legend,) = figures[name].legends
        label = f"best: trial {best}, {report.ranking[0].value:.2%}"
        assert label in [text.get_text() for text in legend.get_texts()]


def test_trials_of_another_machine_have_no_curves(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(dropout)
    report = sweep(tmp_path, trials=3, repeats=2)
    best, second, third = (trial.number for trial in report.ranking)
    shutil.rmtree(trial_folder(report.folder, second))
    (legend,) = dict(report.figures())["curves"].legends
    labels = [text.get_text().rpartition(" ")[0] for text in legend.get_texts()]
    assert labels == [f"trial {best}", f"trial {third}"]


def test_the_final_training_is_tested_once_with_a_new_seed(
    tmp_path: Path, simulated: type[SimulatedFit]
) -> None:
    simulated.score = staticmethod(lambda options, epoch: 0.5)
    options = SweepSettings(RANGE, trials=2, repeats=2, final=True)
    final = Sweep(options, {"seed_everything": 7}, tmp_path, "sweep", ("m", "d"))
    with final.open() as study:
        final.execute(study, print)
        best = SweepReport(study, options, final.folder).ranking[0]
        simulated.started.clear()
        for _ in range(2):
            assert final.train_final(best).metrics["test/acc"] == 0.25
    ((_, used),) = simulated.started
    assert used["seed_everything"] == "9"
    assert used["test_after_fit"] == "true"
    assert used["model.dropout"] == to_text(best.params["model.dropout"])


def test_table_and_files(tmp_path: Path, simulated: type[SimulatedFit]) -> None:
    simulated.score = staticmethod(dropout)
    space = {**RANGE, "data.batch_size": [32, 64]}
    report = sweep(tmp_path, space=space, trials=12, repeats=2)
    header, first, *_, importance = report.table().splitlines()
    assert header.split() == ["Trial", "val/acc", "dropout", "batch_size"]
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
    assert diff_from_defaults(config, defaults) == {
        "model": {"network": network},
        "trainer": {"profiler": profiler},
    }
    assert diff_from_defaults(defaults, defaults) == {}
