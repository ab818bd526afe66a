"""A parser whose errors are one sentence."""

import re
from collections.abc import Mapping
from numbers import Number
from typing import Any, NoReturn

import torch
import yaml
from jsonargparse import set_parsing_settings
from jsonargparse.typing import register_type
from lightning.pytorch.callbacks.timer import Interval
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from mnist_lightning.cli.help import SUMMARIES, ExampleFormatter, arrange_help, describe_only
from mnist_lightning.cli.suggestions import suggest
from mnist_lightning.errors import UsageError

CLASS_PATH = "the path of a class, such as torch.nn.ReLU"
# How jsonargparse describes a type, and how a user would.
TYPE_DESCRIPTIONS = (
    (r"<class 'NoneType'>", "null"),
    (r"<class '(?:collections\.abc\.Sequence|list)'>", "a list"),
    (r"<class 'dict'>", "a mapping such as {NAME: VALUE}"),
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*)\]", r"one of \1"),
    (r"Number", "a number"),
    (r"dot import path.*", CLASS_PATH),
)
EXAMPLE_CLASSES = {
    "optimizer": "torch.optim.SGD",
    "lr_scheduler": "torch.optim.lr_scheduler.StepLR",
    "trainer.callbacks": "lightning.pytorch.callbacks.EarlyStopping",
    "trainer.logger": "lightning.pytorch.loggers.CSVLogger",
}

MLFLOW_FOLDER = (  # the explanation of MLflow 3.7 has five sentences
    "MLflow no longer writes into a folder: pass --trainer.logger.tracking_uri "
    "sqlite:///mlflow.db, or set the environment variable MLFLOW_ALLOW_FILE_STORE to true"
)


def _to_number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return float(str(value))


# Rejects values that name os.system, subprocess.Popen, pickle.load and the like, as jsonargparse 5
# will do by default; 4.53 only warns.
set_parsing_settings(import_path_denylist=[])
# Transforms of torchvision accept a Number or a Sequence, but jsonargparse cannot read a Number.
register_type(
    Number,
    serializer=_to_number,
    deserializer=_to_number,
    type_check=lambda value, _: isinstance(value, int | float),
    fail_already_registered=False,
)
# jsonargparse cannot serialize a torch.device, the default of an argument of
# StochasticWeightAveraging.
register_type(torch.device, fail_already_registered=False)
# YAML cannot represent an Interval, the default of an argument of Timer.
yaml.SafeDumper.add_representer(Interval, lambda dumper, interval: dumper.represent_str(interval))


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
        if match := re.match(r"argument subcommand: (invalid choice: '.+?')", message):
            message = f"{match[1]} (choose from {', '.join(SUMMARIES)})"
        raise UsageError(_in_one_sentence(message + self._suggestion(message)))

    def _suggestion(self, message: str) -> str:
        """Returns ``; did you mean NAME?`` for an error about an unknown name, if one is near."""
        if match := re.match(r"invalid choice: '(.+?)'", message):
            return suggest(match[1], list(SUMMARIES))
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
    if key := re.search(r'Parser key "([^"]+)"', message):
        if denied := re.search(r"Importing '(.+?)' is not allowed", message):
            return f"--{key[1]}: options must not name {denied[1]}, which can run any code"
        problem = _class_problem(key[1], message) or _value_problem(key[1], message)
        if problem:
            return problem
    if "does not accept option 'space" in message:
        return "the config contains the space of a sweep; use the subcommand sweep"
    if "not accepted before subcommand" in message:
        return f"{message}; write the subcommand first, then its options: 'fit --config FILE'"
    if missing := re.search(r"arguments are required: (.+)", message):
        names = [f"--{name.partition('.')[2] or name}" for name in missing[1].split(", ")]
        if len(names) == 1:
            return f"{names[0]} is missing; add --help to see its possible values"
        return f"{' and '.join(names)} are missing; add --help to see their possible values"
    return _with_hint(message)


def _class_problem(option: str, message: str) -> str | None:
    """Describes an error about a class that is the value of an option, or about its own options.

    The parser of the class has already described errors about its options, without the group.
    """
    if problem := re.search(r"Problem with given class_path '(.+?)':\s+(.+)", message):
        return f"--{option}: cannot import {problem[1]}: {problem[2]}"
    value_match = re.search(r"Given value: (.*)", message)
    value = value_match[1] if value_match else ""
    if base := re.search(r"Import path does not correspond to a subclass of (\w+)", message):
        return f"--{option} is {value!r}; it must be a subclass of {base[1]}"
    if abstract := re.search(
        r"Expected an instantiatable class, but (?:(.+) )?is abstract", message
    ):
        name = abstract[1] or value
        return f"--{option} is {name!r}, an abstract class; choose one of its subclasses"
    if missing := re.search(r"- (--\w.*) (?:is|are) missing;", message):
        return f"--{option} also requires {missing[1].replace('--', f'--{option}.')}"
    if invalid := re.search(r"- --(\w.*)", message):
        return f"--{option}.{invalid[1]}"
    if near := re.search(r"Option '(.+)' is not accepted; did you mean (.+)\?", message):
        return f"unrecognized arguments: --{option}.{near[1]}; did you mean --{option}.{near[2]}?"
    if nested := re.search(r"NestedArg\(key='(.+?)'", message):
        return _with_hint(
            f"unrecognized arguments: --{option}.{nested[1]}; it must be an argument of the class, "
            f"which comes first: --{option} CLASS"
        )
    if unknown := re.search(r"Option '(.+)' is not accepted", message):
        return _with_hint(f"unrecognized arguments: --{option}.{unknown[1]}")
    return None


def _value_problem(option: str, message: str) -> str | None:
    """Describes a value of the wrong type."""
    value = re.search(r".*(?:Got|Given) value: (.*)", message, re.DOTALL)
    types = re.findall(
        r"(?:Expected an?|Not of type) (.+?)(?:: .*|\. Got value.*)?$", message, re.MULTILINE
    )
    if not value or not types:
        return None
    descriptions = dict.fromkeys(_describe(name) for name in types if " but " not in name)
    descriptions.pop("null", None)  # not helpful to someone who passed a value
    if "float" in descriptions:
        descriptions.pop(CLASS_PATH, None)  # of a Tensor
    wanted = " or ".join(descriptions) or "another value; add --help to see which"
    wanted = wanted.replace("torch.nn.ReLU", EXAMPLE_CLASSES.get(option, "torch.nn.ReLU"))
    return f"--{option} is {value[1]!r}; it must be {wanted}"


def describe_rejection(message: str) -> str | None:
    """Describes why a class rejected its options, if an error of jsonargparse is about that."""
    if not message.startswith("Does not validate against any of the Union subtypes"):
        return None
    if "MLFLOW_ALLOW_FILE_STORE" in message:
        return MLFLOW_FOLDER
    if problem := re.search(r"Problem with given class_path '(.+?)':\s+(.+)", message):
        if missing := re.match(r"Requirement '(.+?)' not met", problem[2]):
            return f"{problem[1]} requires a package; run: pip install '{missing[1]}'"
        return f"{problem[1]} rejected its options: {problem[2]}"
    classes = dict.fromkeys(re.findall(r"class_path='([\w.]+)'", message))
    reasons = re.findall(r"^  - (?!Expected an? |Not a valid subclass )(.+)", message, re.MULTILINE)
    return f"{' or '.join(classes)} rejected its options: {'; '.join(reasons)}"


def _with_hint(message: str) -> str:
    if message.endswith("?"):  # a suggestion
        return message
    return f"{message.rstrip('.')}; add --help to see all options"


def _describe(type_name: str) -> str:
    for pattern, description in TYPE_DESCRIPTIONS:
        if match := re.fullmatch(pattern, type_name):
            return match.expand(description)
    return type_name
