"""Options in environment variables, named as those of LightningCLI."""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from mnist_lightning.errors import InvalidArgumentError, UsageError


def options_of_environment(subcommand: str) -> dict[str, str]:
    """Returns the arguments that environment variables stand for, with the option of each.

    ``PL_FIT__TRAINER__MAX_EPOCHS=3`` stands for ``--trainer.max_epochs=3`` of ``fit``. jsonargparse
    can read such variables itself, but would rank them below the config of a resumed run, and
    would ignore misspelt ones.

    Args:
        subcommand: The command.

    Returns:
        An argument for each option: first ``--config``, because the other variables override it.
    """
    prefix = f"PL_{subcommand.upper()}__"
    values = {
        _option(variable.removeprefix(prefix)): value
        for variable, value in os.environ.items()
        if variable.startswith(prefix)
    }
    names = sorted(values, key=lambda option: (option != "--config", option))
    return {option: f"{option}={values[option]}" for option in names}


def _option(name: str) -> str:
    option = "--" + name.lower().replace("__", ".")
    # Arguments of schedules, the only options with capital letters.
    return re.sub(r"\.t_(?=(max|mult|0)$)", ".T_", option)


@contextmanager
def errors_name_variables(subcommand: str, options: Collection[str]) -> Iterator[None]:
    """Makes an error about an option name the environment variable that set it.

    Args:
        subcommand: The command.
        options: The options that only variables set.
    """

    def variable(match: re.Match[str]) -> str:
        return f"PL_{subcommand.upper()}__{match[1].upper().replace('.', '__')}"

    try:
        yield
    except (UsageError, InvalidArgumentError) as error:
        message = str(error)
        first = re.search(r"(?<!\S)--[\w.]+", message)
        if first is None or first[0] not in options:
            raise
        message = re.sub(r"(?<!\S)--(?!help)([\w.]*\w)", variable, message)
        raise UsageError(
            message.replace("unrecognized arguments", "unrecognized environment variables")
        ) from error
