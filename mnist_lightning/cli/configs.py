"""Configs on the command line: recipes by name, and checks that jsonargparse would report badly."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from mnist_lightning.cli.suggestions import suggest
from mnist_lightning.errors import UserError

PACKAGE = Path(__file__).parents[1]
# A wheel contains the recipes; in a clone, they are in the folder next to the package.
RECIPE_FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")


def recipes() -> dict[str, Path]:
    """Returns the recipes that come with the package, by name."""
    folder = next(filter(Path.is_dir, RECIPE_FOLDERS), RECIPE_FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def resolve_configs(args: Sequence[str]) -> list[str]:
    """Returns a command line with its configs first, each as ``--config=`` and a checked path.

    Its other options override them, wherever they stand.

    Args:
        args: The command line. A file in the working directory takes precedence over the recipe
            of that name.

    Raises:
        UserError: If a config is missing, unreadable, not YAML, or empty; the message names it.
    """
    resolved: list[str] = []
    for previous, arg in pairwise(["", *args]):
        if previous in ("--config", "-c") and arg:
            resolved[-1] = f"--config={_resolve(arg)}"
        elif match := re.fullmatch(r"(--config=|-c=?)(.+)", arg, re.DOTALL):
            resolved.append(f"--config={_resolve(match[2])}")
        else:
            resolved.append(arg)
    return sorted(resolved, key=lambda arg: not arg.startswith("--config="))


def _resolve(name: str) -> str:
    recipe = recipes().get(name)
    path = recipe if recipe and not Path(name).is_file() else Path(name)
    check_config(path)
    return str(path)


def check_config(path: Path) -> None:
    """Checks that a file is a config.

    Raises:
        UserError: If it is missing, unreadable, not YAML, or empty.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read the config file {path} ({error.strerror})"
        if isinstance(error, FileNotFoundError):
            names = list(recipes())
            message += f"; the recipes are {', '.join(names)}"
            message += suggest(path.stem, names, "the recipe ")
        raise UserError(message) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the config file {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"the config file {path} contains no options; add one, such as 'seed_everything: 1'"
        )
    for group in ("trainer", "model", "data"):
        if not isinstance(content.get(group, {}), dict):
            raise UserError(f"the config file {path} has no options below '{group}:'")
