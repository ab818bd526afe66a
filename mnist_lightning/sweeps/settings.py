"""The options of a sweep."""

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

from mnist_lightning.errors import InvalidArgumentError, check_integer, check_number
from mnist_lightning.sweeps.space import Sampler, Space, grid_size, parse_space

DEFAULT_TRIALS = 20
SEED = "seed_everything"
RESERVED_OPTIONS = {"ckpt_path", "config", "test_after_fit", "trainer.default_root_dir"}


@dataclass(frozen=True)
class SweepSettings:
    """The options of ``sweep``.

    Args:
        space: Maps the dotted name of an option of fit to a list of values, or to a range:
            {low: 0.0001, high: 0.01, log: true}, or {low: 0.0, high: 0.4, step: 0.1}; a range is
            of integers if all its numbers are.
        name: Name of the sweep; by default that of the config. The same name continues a sweep.
        trials: Number of trials in total; by default 20, or all combinations of a grid.
        timeout: Seconds after which no further trial is started.
        sampler: How parameters are chosen: tpe learns from earlier trials; grid tries all
            combinations.
        repeats: Number of seeds for each setting; the score is their mean.
        objective: A metric that fit logs, at the epoch with the lowest validation loss.
        mode: Direction of the objective; by default min if its name contains loss.
        prune: Whether to stop a trial, from the second epoch on, whose best objective so far is
            worse than the median of at least five complete trials at that epoch.
        final: Whether to train the best setting again at the end and test it once.
        test: Whether to test each trial; only if seed_everything is the only option in the space.
        storage: URL of a database that several machines share, such as postgresql://HOST/NAME; by
            default a file in the folder of the sweep.
        jobs: Number of trials in parallel; each gets its share of the cores, or a GPU.
    """

    space: dict[str, Any]
    name: str | None = None
    trials: int | None = None
    timeout: float | None = None
    sampler: Sampler = "tpe"
    repeats: int = 1
    objective: str = "val/acc"
    mode: Literal["min", "max"] | None = None
    prune: bool = True
    final: bool = False
    test: bool = False
    storage: str | None = None
    jobs: int = 1

    def __post_init__(self) -> None:
        parsed = self.parsed_space
        if not re.fullmatch(r"\w[\w.-]*", self.name or "sweep"):
            raise InvalidArgumentError(
                "--name", self.name, "it must consist of letters, digits, '_', '.' and '-'"
            )
        if self.trials is not None:
            check_integer("--trials", self.trials, 1, 10**6)
        if self.timeout is not None:
            check_number("--timeout", self.timeout, above=0)
        check_integer("--repeats", self.repeats, 1, 1000)
        check_integer("--jobs", self.jobs, 1, 1000)
        if self.sampler == "grid":
            grid_size(parsed)
        if self.test and not self.has_only_seeds:
            raise InvalidArgumentError(
                "--test",
                True,
                f"trials may be tested only if the space contains nothing but {SEED}, because "
                "otherwise the test images would choose the setting; use --final true",
            )
        if self.repeats > 1 and SEED in parsed:
            raise InvalidArgumentError(
                "--repeats", self.repeats, f"the space contains {SEED}; remove one of the two"
            )
        if self.final and self.has_only_seeds:
            raise InvalidArgumentError(
                "--final", True, f"the space contains nothing but {SEED}; use --test true"
            )
        own_options = {field.name for field in fields(self)} | RESERVED_OPTIONS
        for name in parsed:
            if name in own_options:
                raise InvalidArgumentError(
                    "an option in --space", name, "it cannot be searched; remove it from the space"
                )

    @cached_property
    def parsed_space(self) -> Space:
        """The search space."""
        return parse_space(self.space)

    @property
    def has_only_seeds(self) -> bool:
        """Whether the trials differ in their seeds only, so that nothing is chosen."""
        return set(self.parsed_space) == {SEED}

    @property
    def total_trials(self) -> int:
        """Number of trials."""
        if self.sampler == "grid":
            size = grid_size(self.parsed_space)
            return min(self.trials or size, size)
        return self.trials or DEFAULT_TRIALS

    @property
    def maximize(self) -> bool:
        """Whether a higher objective is better."""
        if self.mode is not None:
            return self.mode == "max"
        return "loss" not in self.objective
