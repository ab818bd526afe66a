"""A parser whose errors are one sentence, and checks of the command line before it is parsed."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from mnist_lightning.errors import UsageError, UserError

# How jsonargparse describes a type, and how a user would.
TYPE_DESCRIPTIONS = (
    (r"<class 'NoneType'>", "null"),
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*)\]", r"one of \1"),
    (r"dot import path.*", "the path of a class, such as torch.nn.ReLU"),
)


class OneSentenceParser(LightningArgumentParser):
    """LightningCLI's parser, with one sentence per error instead of a page of usage."""

    @override
    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Returns the help without the names of all modules of torch, which fill ten pages."""
        modules = r",\s+known\s+subclasses:\s+torch\.nn\.Module,[^)]*"
        return re.sub(modules, "", super().format_help(*args, **kwargs))

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises a :class:`UsageError` that describes an error in the user's words."""
        raise UsageError(_in_one_sentence(message))


def _in_one_sentence(message: str) -> str:
    key = re.search(r'Parser key "([^"]+)"', message)
    class_problem = re.search(r"Problem with given class_path '(.+?)':\s+(.+)", message)
    if key and class_problem:
        return f"--{key[1]}: cannot import {class_problem[1]}: {class_problem[2]}"
    required = re.search(r"arguments are required: ([^;\n]+)", message)
    if key and required:
        options = (f"--{key[1]}.{name}" for name in required[1].split(", "))
        return f"--{key[1]} also requires {' and '.join(options)}"
    value = re.search(r"(?:Got|Given) value: (.*)", message, re.DOTALL)
    types = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, re.MULTILINE)
    if key and value and types:
        descriptions = dict.fromkeys(_describe(name) for name in types if " but " not in name)
        descriptions.pop("null", None)  # not helpful to someone who passed a value
        wanted = " or ".join(descriptions) or "another value; add --help to see which"
        return f"--{key[1]} is {value[1]!r}; it must be {wanted}"
    if "not accepted before subcommand" in message:
        return f"{message}; write the subcommand first, then its options: 'fit --config FILE'"
    if missing := re.search(r"arguments are required: \w+\.(.+)", message):
        return f"--{missing[1]} is missing; add --help to see its possible values"
    return f"{message.rstrip('.')}; add --help to see all options"


def _describe(type_name: str) -> str:
    for pattern, description in TYPE_DESCRIPTIONS:
        if match := re.fullmatch(pattern, type_name):
            return match.expand(description)
    return type_name


def check_command_line(args: Sequence[str]) -> None:
    """Checks what jsonargparse would report badly: the encoding, and each ``--config``.

    Args:
        args: The command line.

    Raises:
        UserError: If an argument is not text, or if a config is missing, unreadable, not YAML, or
            empty; the message names it.
    """
    for arg in args:
        if any(unicodedata.category(character) == "Cs" for character in arg):
            raise UsageError(f"the argument {arg!r} is not valid UTF-8; rename the file")
    for path in _configs(args):
        _check_config(path)


def _configs(args: Sequence[str]) -> Iterator[Path]:
    for arg, following in pairwise([*args, ""]):
        if arg in ("--config", "-c") and following:
            yield Path(following)
        elif arg.startswith("--config="):
            yield Path(arg.removeprefix("--config="))


def _check_config(path: Path) -> None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the config file {path} ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the config file {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"the config file {path} contains no options; add one, such as 'seed_everything: 1'"
        )
    for group in ("trainer", "model", "data"):
        if not isinstance(content.get(group, {}), dict):
            raise UserError(f"the config file {path} has no options below '{group}:'")
