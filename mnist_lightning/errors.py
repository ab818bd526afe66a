"""Errors that a user can mend: the command line prints each as one sentence."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import nn
from typing_extensions import override


class UserError(Exception):
    """A run that cannot go on; its message is one sentence that names the cause and the way out.

    Attributes:
        exit_code: Exit status of the command line.
    """

    exit_code = 1


class InvalidArgumentError(UserError, ValueError):
    """An argument that is out of range.

    Args:
        name: Name of the argument, as in the signature.
        value: The value that was given.
        requirement: What the value must be, and a hint.
    """

    exit_code = 2

    def __init__(self, name: str, value: object, requirement: str) -> None:
        super().__init__(name, value, requirement)
        self.name = name

    @override
    def __str__(self) -> str:
        name, value, requirement = self.args
        shown = repr(value)
        return f"{name} is {shown if len(shown) <= 200 else shown[:199] + '…'}; {requirement}"


def require(name: str, value: Any, holds: Callable[[Any], bool], requirement: str) -> None:
    """Checks an argument, whatever its type.

    Args:
        name: Name of the argument, as in the signature.
        value: The value that was given.
        holds: Returns whether it will do, or raises ``TypeError`` or ``ValueError`` if it cannot
            tell.
        requirement: See :class:`InvalidArgumentError`.

    Raises:
        InvalidArgumentError: If the value will not do.
    """
    with suppress(TypeError, ValueError):
        if holds(value):
            return
    raise InvalidArgumentError(name, value, requirement)


def is_module(value: Any) -> bool:
    """Returns whether a value is None or a module that maps something."""
    return value is None or (
        isinstance(value, nn.Module) and type(value).forward is not nn.Module.forward
    )


class DivergedError(UserError):
    """A training whose loss or weights are no finite numbers any more."""


class DataError(UserError):
    """A data set that cannot be had or read."""


class MissingDataError(DataError):
    """Files that are not in the data folder, and that no mirror gave."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or of another network."""
