"""Errors that a user can mend: the command line prints each as one sentence."""

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
        return "{} is {!r}; {}".format(*self.args)


class DivergedError(UserError):
    """A training whose loss or weights are no finite numbers any more."""


class DataError(UserError):
    """A data set that cannot be had or read."""


class MissingDataError(DataError):
    """Files that are not in the data folder, and that no mirror gave."""


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged or of another network."""
