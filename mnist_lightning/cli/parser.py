"""Command-line errors in one sentence."""

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from mnist_lightning.errors import UserError

_KINDS = (
    (r"<class 'NoneType'>", "null"),
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*)\]", r"one of \1"),
    (r"dot import path.*", "the path of a class, such as torch.nn.ReLU"),
)


class OneSentenceParser(LightningArgumentParser):
    """LightningCLI's parser, but an error is one sentence instead of a page of usage before it."""

    @override
    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Returns the help, without the names of all modules of torch, which fill ten pages."""
        modules = r",\s+known\s+subclasses:\s+torch\.nn\.Module,[^)]*"
        return re.sub(modules, "", super().format_help(*args, **kwargs))

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says in a user's words what is wrong and exits with status 2."""
        key = re.search(r'Parser key "([^"]+)"', message)
        value = re.search(r"(?:Got|Given) value: (.*)", message, re.DOTALL)
        kinds = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, re.MULTILINE)
        if key and value and kinds:
            names = dict.fromkeys(_in_words(kind) for kind in kinds if " but " not in kind)
            names.pop("null", None)  # no news to someone who gave a value
            wanted = " or ".join(names) or "another value; add --help to see which"
            message = f"--{key[1]} is {value[1]!r}; it must be {wanted}"
        elif "not accepted before subcommand" in message:
            message += "; write the subcommand first, then its options, as in 'fit --config FILE'"
        elif missing := re.search(r"arguments are required: \w+\.(.+)", message):
            message = f"--{missing[1]} is missing; add --help to see what it may be"
        else:
            message = f"{message.rstrip('.')}; add --help to see what is accepted"
        fail(2, message)


def fail(code: int, message: str) -> NoReturn:
    """Ends the program with one line on stderr and exit status ``code``."""
    print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
    raise SystemExit(code)


def check_configs(args: Sequence[str]) -> None:
    """Checks that each ``--config`` is a file with options.

    Args:
        args: The command line.

    Raises:
        UserError: If one is missing, unreadable, no YAML, or empty; names it.
    """
    for path in _configs(args):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = error.strerror
            raise UserError(f"the config file {path} cannot be read ({reason})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"the config file {path} is no YAML: {error}") from error
        if not isinstance(content, dict):
            raise UserError(
                f"the config file {path} has no options; write some, such as 'seed_everything: 1'"
            )
        for group in ("trainer", "model", "data"):
            if not isinstance(content.get(group, {}), dict):
                raise UserError(f"the config file {path} has no options below '{group}:'")


def _configs(args: Sequence[str]) -> Iterator[Path]:
    for arg, following in pairwise([*args, ""]):
        if arg in ("--config", "-c") and following:
            yield Path(following)
        elif arg.startswith("--config="):
            yield Path(arg.removeprefix("--config="))


def _in_words(kind: str) -> str:
    for pattern, words in _KINDS:
        if match := re.fullmatch(pattern, kind):
            return match.expand(words)
    return kind
