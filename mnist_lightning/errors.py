"""Errors that the user can fix, and one-line checks of arguments.

The command line prints each :class:`UserError` as one sentence, without a traceback.
"""

import math
import operator
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from torch import nn
from typing_extensions import override


class UserError(Exception):
    """A failure whose message names the cause and the way out in one sentence.

    Attributes:
        exit_code: Exit status of the command line.
    """

    exit_code = 1


class InvalidArgumentError(UserError, ValueError):
    """An argument with an invalid value.

    Args:
        name: Name of the argument, as in the signature.
        value: The invalid value.
        requirement: What the value must be, and a hint.
    """

    exit_code = 2

    def __init__(self, name: str, value: object, requirement: str) -> None:
        super().__init__(name, value, requirement)
        self.name = name

    @override
    def __str__(self) -> str:
        name, value, requirement = self.args
        text = repr(value)
        return f"{name} is {text if len(text) <= 200 else text[:199] + '…'}; {requirement}"


class UsageError(UserError):
    """A command line that cannot be executed."""

    exit_code = 2


class DivergedError(UserError):
    """Training diverged: a loss or a weight is NaN or infinite."""


class DataError(UserError):
    """A data set cannot be downloaded or read."""


class MissingDataError(DataError):
    """Files are neither in the data folder nor available from any mirror."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or does not match the network."""


def check(name: str, value: Any, is_valid: Callable[[Any], Any], requirement: str) -> None:
    """Checks an argument of any type.

    Args:
        name: Name of the argument, as in the signature.
        value: The value to check.
        is_valid: Returns whether the value is valid; a ``TypeError`` or ``ValueError`` from it
            also means that it is not.
        requirement: What the value must be, and a hint, for the message.

    Raises:
        InvalidArgumentError: If the value is not valid.
    """
    with suppress(TypeError, ValueError):
        if is_valid(value):
            return
    raise InvalidArgumentError(name, value, requirement)


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    hint: str = "",
) -> None:
    """Checks that an argument is a finite number within bounds.

    Raises:
        InvalidArgumentError: If it is not.
    """
    bounds = [f"above {above:g}"] if above > -math.inf else []
    bounds += [f"at least {at_least:g}"] if at_least > -math.inf else []
    bounds += [f"below {below:g}"] if below < math.inf else ["finite"]
    requirement = f"it must be {' and '.join(bounds)}"
    if hint:
        requirement += f" ({hint})"
    check(name, value, lambda number: above < number < below and number >= at_least, requirement)


def check_integer(name: str, value: Any, at_least: int, at_most: int) -> None:
    """Checks that an argument is an integer within bounds.

    Raises:
        InvalidArgumentError: If it is not.
    """
    check(
        name,
        value,
        lambda number: at_least <= operator.index(number) <= at_most,
        f"it must be an integer from {at_least:,} to {at_most:,}",
    )


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Checks that an argument is one of several strings.

    Raises:
        InvalidArgumentError: If it is not.
    """
    check(name, value, lambda choice: choice in choices, f"it must be one of {', '.join(choices)}")


def check_module(name: str, value: Any, task: str) -> None:
    """Checks that an argument is a module with a ``forward``.

    Args:
        name: Name of the argument, as in the signature.
        value: The value to check.
        task: What the module must do, for the message: "maps images to logits".

    Raises:
        InvalidArgumentError: If it is not.
    """
    check(
        name,
        value,
        lambda module: (
            isinstance(module, nn.Module) and type(module).forward is not nn.Module.forward
        ),
        f"it must be a torch.nn.Module that {task}",
    )


def check_path(name: str, value: Any, requirement: str) -> None:
    """Checks that an argument is a path.

    Args:
        name: Name of the argument, as in the signature.
        value: The value to check.
        requirement: What the value must be, for the message.

    Raises:
        InvalidArgumentError: If it is not.
    """
    check(name, value, _is_path, requirement)


def check_paths(name: str, value: Any, requirement: str) -> None:
    """Checks that an argument is a non-empty list of paths, or None; otherwise like `check_path`.

    Raises:
        InvalidArgumentError: If it is not.
    """
    check(
        name,
        value,
        lambda paths: paths is None or (paths and all(map(_is_path, paths))),
        requirement,
    )


def _is_path(value: Any) -> bool:
    return bool(value) and b"\0" not in os.fsencode(value)
