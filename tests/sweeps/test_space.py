"""The search space, and how parameters are sampled."""

from typing import Any

import optuna
import pytest

from mnist_lightning.errors import InvalidArgumentError
from mnist_lightning.sweeps.settings import SweepSettings
from mnist_lightning.sweeps.space import (
    Choice,
    Range,
    Sampler,
    create_sampler,
    grid_size,
    parse_space,
    suggest_parameters,
    to_text,
)

SPACE = {
    "model.learning_rate": {"low": "1e-4", "high": 1e-2, "log": True},
    "data.batch_size": {"low": 32, "high": 128, "step": 32},
    "model.dropout": [0.0, 0.2, None],
    "model.network": [{"class_path": "nets.Net"}, "nets.Other"],
}


def sample(sampler: Sampler, numbers: list[int], seed: int = 0) -> list[dict[str, Choice]]:
    """Returns the parameters of some trials of a study, which has no other trials."""
    space = parse_space(SPACE)
    if sampler == "grid":
        del space["model.learning_rate"]
    study = optuna.create_study()
    parameters = []
    for number in range(max(numbers) + 1):
        if number in numbers:
            study.sampler = create_sampler(sampler, space, seed, number)
            trial = study.ask()
            parameters.append(suggest_parameters(study, trial, space, seed))
        else:
            study.add_trial(optuna.trial.create_trial(value=0.0))
    return parameters


def test_parses_ranges_and_lists() -> None:
    space = parse_space(SPACE)
    assert space["model.learning_rate"] == Range(1e-4, 1e-2, log=True)
    batch_size = space["data.batch_size"]
    assert isinstance(batch_size, Range)
    assert batch_size.is_integer
    assert batch_size.grid() == [32, 64, 96, 128]
    assert space["model.dropout"] == [0.0, 0.2, None]
    assert space["model.network"] == ['{"class_path": "nets.Net"}', "nets.Other"]


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_parameters_depend_on_the_seed_and_the_number_of_a_trial_only(sampler: Sampler) -> None:
    expected = sample(sampler, [0, 1, 2, 3])
    assert sample(sampler, [1, 3]) == [expected[1], expected[3]]
    assert sample(sampler, [0, 1, 2, 3], seed=1) != expected


def test_an_interrupted_trial_keeps_its_parameters() -> None:
    space = parse_space(SPACE)
    (expected,) = sample("random", [0])
    study = optuna.create_study()
    study.sampler = create_sampler("random", space, 0, 0)
    trial = study.ask()
    first = dict(list(space.items())[:2])
    assert suggest_parameters(study, trial, first, 0).items() <= expected.items()
    study.sampler = create_sampler("random", space, 0, 0)
    trial = optuna.trial.Trial(study, 0)
    assert suggest_parameters(study, trial, space, 0) == expected


def test_random_parameters_cover_the_space() -> None:
    parameters = sample("random", list(range(60)))
    for name, values in SPACE.items():
        sampled = [values_of_trial[name] for values_of_trial in parameters]
        if isinstance(values, list):
            assert len(set(sampled)) == len(values)
        else:
            assert len(set(sampled)) > 3
    rates = [float(str(values["model.learning_rate"])) for values in parameters]
    assert 15 < sum(rate < 1e-3 for rate in rates) < 45  # logarithmic: half of them
    assert {values["data.batch_size"] for values in parameters} == {32, 64, 96, 128}


def test_grid_contains_each_combination_once() -> None:
    space = {name: values for name, values in SPACE.items() if name != "model.learning_rate"}
    assert grid_size(parse_space(space)) == 4 * 3 * 2
    parameters = sample("grid", list(range(24)))
    assert len({tuple(values.items()) for values in parameters}) == 24


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "it must be a non-empty list, or a range"),
        (0.1, "it must be a non-empty list, or a range"),
        ({"low": 1}, "it must be a non-empty list, or a range"),
        ({"low": 1, "high": 2, "steps": 1}, "it must be a non-empty list, or a range"),
        ({"low": 2, "high": 1}, r"high is 1; it must be above 2"),
        ({"low": 1, "high": 1}, r"high is 1; it must be above 1"),
        ({"low": 0, "high": 1, "log": True}, "low is 0; it must be above 0, because"),
        ({"low": 1, "high": 2, "step": 0}, "step is 0; it must be above 0"),
        ({"low": 1.0, "high": 2, "step": 0.5, "log": True}, "a range with log has no step"),
        ({"low": "a", "high": 2}, "a range must consist of finite numbers"),
        ({"low": None, "high": 2}, "a range must consist of finite numbers"),
        ({"low": 0.1, "high": float("inf")}, "a range must consist of finite numbers"),
        ({"low": False, "high": True}, "a range must consist of finite numbers"),
        ({"low": 1, "high": 2, "step": float("nan")}, "a range must consist of finite numbers"),
        ({"low": 1, "high": 2, "log": 1}, "it must be true or false"),
        ({"dropout": [0.0, 0.1]}, "names are dotted, such as model.dropout"),
        ([0.1, 0.10], "it must not contain a value twice"),
    ],
)
def test_rejects_invalid_values(values: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as error:
        parse_space({"model.dropout": values})
    assert str(error.value).startswith("--space model.dropout")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "--name is 'a/b'"),
        ({"name": ".."}, "--name is '..'"),
        ({"trials": 0}, "--trials is 0"),
        ({"timeout": 0}, "--timeout is 0"),
        ({"repeats": 0}, "--repeats is 0"),
        ({"jobs": 0}, "--jobs is 0"),
        ({"test": True}, "nothing but seed_everything"),
        ({"space": {1: [0.0]}}, "--space is 1; it must be the dotted name"),
        ({"space": {"trials": [1]}}, "it cannot be searched; remove it"),
        ({"space": {"config": ["a"]}}, "it cannot be searched; remove it"),
        ({"space": {"seed_everything": [1]}, "final": True}, "use --test true"),
        ({"space": {"a": {"low": 0, "high": 10**9}}, "sampler": "grid"}, "1,000,000,001 combin"),
        ({"space": {}}, "name at least one option"),
        ({"space": {"seed_everything": [0, 1]}, "repeats": 2}, "remove one of the two"),
        (
            {"space": {"test_after_fit": [True, False]}},
            "it cannot be searched; remove it",
        ),
        (
            {"space": {"a": {"low": 0.0, "high": 1}}, "sampler": "grid"},
            "range of a is continuous; use a list or",
        ),
    ],
)
def test_rejects_invalid_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        SweepSettings(**{"space": {"model.dropout": [0.0, 0.2]}, **options})


def test_a_step_gives_the_values_that_one_would_write() -> None:
    steps = Range(0.0, 0.35, step=0.1)
    assert steps.grid() == [0.0, 0.1, 0.2, 0.3]
    space = parse_space({"a": {"low": 0.0, "high": 0.35, "step": 0.1}})
    study = optuna.create_study()
    texts = set()
    for number in range(30):  # no warning, which would be an error
        study.sampler = create_sampler("random", space, 0, number)
        texts.add(to_text(suggest_parameters(study, study.ask(), space, 0)["a"]))
    assert texts == {"0.0", "0.1", "0.2", "0.3"}


def test_the_objective_is_minimized_if_it_is_a_loss() -> None:
    space = {"model.dropout": [0.0]}
    assert SweepSettings(space).maximize
    assert not SweepSettings(space, objective="val/loss").maximize
    assert SweepSettings(space, objective="val/loss", mode="max").maximize


def test_number_of_trials() -> None:
    space = {"model.dropout": [0.0, 0.1], "data.batch_size": [1, 2, 3]}
    assert SweepSettings(space).total_trials == 20
    assert SweepSettings(space, sampler="grid").total_trials == 6
    assert SweepSettings(space, sampler="grid", trials=4).total_trials == 4
