"""A parser whose errors are one sentence."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from mnist_lightning.cli.help import ExampleFormatter, arrange_help, describe_only
from mnist_lightning.cli.suggestions import suggest
from mnist_lightning.errors import UsageError

# How jsonargparse describes a type, and how a user would.
TYPE_DESCRIPTIONS = (
    (r"<class 'NoneType'>", "null"),
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*)\]", r"one of \1"),
    (r"dot import path.*", "the path of a class, such as torch.nn.ReLU"),
)


class OneSentenceParser(LightningArgumentParser):
    """LightningCLI's parser, with one sentence per error instead of a page of usage.

    Attributes:
        commands: The parsers of the subcommands, by name.
        command: The subcommand that is parsed, whose options are suggested.
    """

    commands: Mapping[str, "OneSentenceParser"] = {}
    command = ""

    def __init__(self, **kwargs: Any) -> None:
        # An abbreviation may be a misspelling, and might become ambiguous.
        super().__init__(allow_abbrev=False, formatter_class=ExampleFormatter, **kwargs)
        self.color = False  # Python 3.14 colours the help, which is arranged as plain text

    @override
    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        subcommands = super().add_subcommands(*args, **kwargs)
        self.commands = subcommands.choices
        return subcommands

    @override
    def format_help(self, *args: Any, **kwargs: Any) -> str:
        text = super().format_help(*args, **kwargs)
        return describe_only(text) if self.commands else arrange_help(text)

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises a :class:`UsageError` that describes an error in the user's words."""
        raise UsageError(_in_one_sentence(message + self._suggestion(message)))

    def _suggestion(self, message: str) -> str:
        """Returns ``; did you mean NAME?`` for an error about an unknown name, if one is near."""
        if match := re.match(r"argument subcommand: invalid choice: '(.+?)'", message):
            return suggest(match[1], list(self.commands))
        if match := re.match(r"unrecognized arguments: (.+)", message, re.DOTALL):
            options = self._options()
            args = (arg for arg in match[1].split() if arg.startswith("-") or "=" in arg)
            suggestions = (suggest(arg.partition("=")[0], options) for arg in args)
            return next(filter(None, suggestions), "")
        if match := re.search(r"[Oo]ption '(.+)'(?: is not accepted)?$", message):
            return suggest(match[1], [option.lstrip("-") for option in self._options()])
        return ""

    def _options(self) -> list[str]:
        """Returns the options of the command."""
        text = self.commands.get(self.command, self).format_help()
        return re.findall(r"^  (?:-\w.*, )?(--[\w.]+)", text, re.MULTILINE)


def _in_one_sentence(message: str) -> str:
    key = re.search(r'Parser key "([^"]+)"', message)
    class_problem = re.search(r"Problem with given class_path '(.+?)':\s+(.+)", message)
    if key and class_problem:
        return f"--{key[1]}: cannot import {class_problem[1]}: {class_problem[2]}"
    required = re.search(r"arguments are required: ([^;\n]+)", message)
    if key and required:
        options = (f"--{key[1]}.{name}" for name in required[1].split(", "))
        return f"--{key[1]} also requires {' and '.join(options)}"
    unknown = re.search(r"Option '(.+)' is not accepted(; did you mean (.+)\?)?", message)
    if key and unknown:  # an option of a class
        suggestion = f"; did you mean --{key[1]}.{unknown[3]}?" if unknown[2] else ""
        return _with_hint(f"unrecognized arguments: --{key[1]}.{unknown[1]}{suggestion}")
    value = re.search(r"(?:Got|Given) value: (.*)", message, re.DOTALL)
    types = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, re.MULTILINE)
    if key and value and types:
        descriptions = dict.fromkeys(_describe(name) for name in types if " but " not in name)
        descriptions.pop("null", None)  # not helpful to someone who passed a value
        wanted = " or ".join(descriptions) or "another value; add --help to see which"
        return f"--{key[1]} is {value[1]!r}; it must be {wanted}"
    if "not accepted before subcommand" in message:
        return f"{message}; write the subcommand first, then its options: 'fit --config FILE'"
    if missing := re.search(r"arguments are required: (\w+\..+)", message):
        names = [f"--{name.partition('.')[2]}" for name in missing[1].split(", ")]
        are, their = ("is", "its") if len(names) == 1 else ("are", "their")
        return f"{' and '.join(names)} {are} missing; add --help to see {their} possible values"
    return _with_hint(message)


def _with_hint(message: str) -> str:
    add = " Add" if message.endswith("?") else "; add"
    return f"{message.rstrip('.')}{add} --help to see all options"


def _describe(type_name: str) -> str:
    for pattern, description in TYPE_DESCRIPTIONS:
        if match := re.fullmatch(pattern, type_name):
            return match.expand(description)
    return type_name
