"""The search space of a sweep, and the parameters of each trial."""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optuna import Study, Trial
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler

from mnist_lightning.errors import InvalidArgumentError, check

Choice = None | bool | int | float | str
Sampler = Literal["tpe", "random", "grid"]
KEYS = {"low", "high", "step", "log"}
MAX_GRID_SIZE = 100_000


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both included; integers if all its numbers are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def is_integer(self) -> bool:
        """Whether the numbers are integers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    @property
    def count(self) -> int | None:
        """The number of values; None if the range is continuous."""
        step = self.step or (1 if self.is_integer and not self.log else None)
        return None if step is None else int((self.high - self.low) / step + 1e-9) + 1

    def value(self, index: int) -> float:
        """Returns a value of a range that is not continuous."""
        return round(self.low + index * (self.step or 1), 12)  # 0.3 instead of 0.30000000000000004

    def grid(self) -> list[float]:
        """Returns all values of a range that is not continuous."""
        return [self.value(index) for index in range(self.count or 0)]


Space = dict[str, list[Choice] | Range]


def parse_space(space: Mapping[str, Any]) -> Space:
    """Parses the option ``--space``.

    Args:
        space: Maps the dotted name of an option of ``fit`` to a list of values, or to a range with
            the keys ``low``, ``high``, and optionally ``step`` and ``log``. Values that are lists
            or mappings become JSON, which is how they are written on the command line.

    Raises:
        InvalidArgumentError: If a list or a range is empty or not valid; the message names it.
    """
    if not isinstance(space, Mapping) or not space:
        raise InvalidArgumentError(
            "--space", space, "name at least one option of fit, such as {model.dropout: [0.0, 0.2]}"
        )
    return {str(name).lstrip("-"): _parse_values(name, values) for name, values in space.items()}


def _parse_values(name: Any, values: Any) -> list[Choice] | Range:
    if not isinstance(name, str):
        raise InvalidArgumentError("--space", name, "it must be the dotted name of an option")
    name = f"--space {name}"
    if isinstance(values, list) and values:
        choices = [value if isinstance(value, Choice) else json.dumps(value) for value in values]
        if len({to_text(choice) for choice in choices}) < len(choices):
            raise InvalidArgumentError(name, values, "it must not contain a value twice")
        return choices
    if not isinstance(values, dict) or not {"low", "high"} <= set(values) <= KEYS:
        raise InvalidArgumentError(
            name,
            values,
            "it must be a non-empty list, or a range such as {low: 0.0001, high: 0.01, log: true}; "
            "names are dotted, such as model.dropout",
        )
    log = values.get("log", False)
    check(f"{name}.log", log, lambda value: isinstance(value, bool), "it must be true or false")
    numbers = {key: _to_number(name, value) for key, value in values.items() if key != "log"}
    parsed_range = Range(**numbers, log=log)
    _check_range(name, parsed_range)
    return parsed_range


def _to_number(name: str, value: Any) -> Any:
    try:
        # YAML reads 1e-4, without a decimal point, as a text.
        number = float(value) if isinstance(value, str) else value
        if not isinstance(number, bool) and math.isfinite(number):
            return number
    except (TypeError, ValueError):
        pass
    raise InvalidArgumentError(name, value, "a range must consist of finite numbers")


def _check_range(name: str, values: Range) -> None:
    if not values.low < values.high:
        raise InvalidArgumentError(f"{name}.high", values.high, f"it must be above {values.low}")
    if values.log and values.low <= 0:
        raise InvalidArgumentError(
            f"{name}.low", values.low, "it must be above 0, because the range is logarithmic"
        )
    if values.step is not None and (values.log or values.step <= 0):
        raise InvalidArgumentError(
            f"{name}.step", values.step, "it must be above 0, and a range with log has no step"
        )


def shorten(value: Choice) -> Choice:
    """Returns a float with 12 significant digits: 0.3 instead of 0.30000000000000004."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def to_text(value: Choice) -> str:
    """Returns a value as it is written on the command line, shortened."""
    return value if isinstance(value, str) else json.dumps(shorten(value))


def grid_size(space: Space) -> int:
    """Returns the number of combinations of all values.

    Raises:
        InvalidArgumentError: If the space contains a continuous range, or too many combinations.
    """
    counts = {
        name: values.count if isinstance(values, Range) else len(values)
        for name, values in space.items()
    }
    for name, count in counts.items():
        if count is None:
            raise InvalidArgumentError(
                "--sampler", "grid", f"the range of {name} is continuous; use a list or a step"
            )
    size = math.prod(count or 1 for count in counts.values())
    if size > MAX_GRID_SIZE:
        raise InvalidArgumentError(
            "--sampler", "grid", f"the space has {size:,} combinations; use the sampler random"
        )
    return size


def create_sampler(sampler: Sampler, space: Space, seed: int, number: int) -> BaseSampler:
    """Returns the sampler of a trial.

    Each trial has its own, so that its parameters do not depend on how often a sweep was
    interrupted.

    Args:
        sampler: Name of the sampler.
        space: The search space.
        seed: Seed of the sweep.
        number: Number of the trial.
    """
    if sampler == "grid":
        grid = {
            name: values.grid() if isinstance(values, Range) else values
            for name, values in space.items()
        }
        return GridSampler(grid, seed=seed)
    if sampler == "tpe":
        return TPESampler(seed=_derive_seed(seed, number))
    return RandomSampler()  # seeded for each parameter


def suggest_parameters(study: Study, trial: Trial, space: Space, seed: int) -> dict[str, Choice]:
    """Returns the parameters of a trial; those sampled before an interruption are kept."""
    parameters: dict[str, Choice] = {}
    for name, values in space.items():
        if isinstance(study.sampler, RandomSampler):
            # A trial may have been interrupted after some of its parameters were sampled.
            study.sampler = RandomSampler(seed=_derive_seed(seed, trial.number, name))
        if not isinstance(values, Range):
            parameters[name] = trial.suggest_categorical(name, values)
            continue
        low, step, log = values.low, values.step, values.log
        high = values.high if values.count is None else values.value(values.count - 1)
        if values.is_integer:
            parameters[name] = trial.suggest_int(
                name, int(low), int(high), step=int(step or 1), log=log
            )
        else:
            parameters[name] = trial.suggest_float(name, low, high, step=step, log=log)
    return parameters


def _derive_seed(*parts: int | str) -> int:
    return zlib.crc32("/".join(map(str, parts)).encode())
