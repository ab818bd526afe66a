"""The text of ``--help``: descriptions, examples, and the order of the options."""

import os
import platform
import re
import shlex
import subprocess
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterable
from typing import Any

import lightning
import torch
from jsonargparse import DefaultHelpFormatter

import mnist_lightning
from mnist_lightning.cli.configs import recipes

SUMMARIES = {
    "fit": "Trains a network and tests it; the default is ten epochs on MNIST.",
    "validate": "Measures accuracy and loss on the validation images.",
    "test": "Measures accuracy and loss on the test images, with figures.",
    "predict": "Predicts the digits in the test images or in your own pictures.",
    "export": "Writes a trained network to a file for use without PyTorch.",
    "sweep": "Searches for the best options of fit, each trial a fit in its own process.",
}
# Usage without options, then for each example a description and the arguments of the program.
USAGES = {"export": "export --format {onnx,html} --output FILE"}
EXAMPLES = {
    "fit": {
        "Train with the default options": "fit",
        "Train on the bundled sample, without a network connection": "fit --config quick",
        "Train with a recipe and other options": (
            "fit --config fast --trainer.max_epochs 4 --data.batch_size 64"
        ),
        "Train your own network, which maps images to logits": (
            "fit --model.network my_package.Net --model.network.width 64"
        ),
        "Resume the newest run and train for 20 epochs in total": (
            "fit --ckpt_path last --trainer.max_epochs 20"
        ),
    },
    "validate": {
        "Validate the best checkpoint of the newest run": "validate",
        "Validate the weights that are shipped with the package": "validate --ckpt_path pretrained",
        "Validate another checkpoint": (
            "validate --ckpt_path lightning_logs/version_0/checkpoints/last.ckpt"
        ),
    },
    "test": {
        "Test the best checkpoint of the newest run": "test",
        "Test the weights that are shipped with the package": "test --ckpt_path pretrained",
        "Test on other data": "test --ckpt_path pretrained --data.dataset QMNIST",
    },
    "predict": {
        "Predict the test images with the best checkpoint of the newest run": "predict",
        "Predict your own pictures with it": "predict --data.images 'scans/*.png'",
        "Predict them with the weights that are shipped with the package": (
            "predict --ckpt_path pretrained --data.images '[a.png, b.png]'"
        ),
    },
    "export": {
        "Export the best checkpoint of the newest run to ONNX": (
            "export --format onnx --output digits.onnx"
        ),
        "Export it to a page in which to draw digits": "export --format html --output digits.html",
        "Export the weights that are shipped with the package": (
            "export --ckpt_path pretrained --format html --output digits.html"
        ),
    },
    "sweep": {
        "Search for a better learning rate and dropout than the notebook's": (
            "sweep --config sweep"
        ),
        "Compare two values of an option with three seeds each": (
            "sweep --space '{model.dropout: [0.0, 0.2]}' --sampler grid --repeats 3"
        ),
        "Train a recipe with several seeds and test each network": (
            "sweep --config fast --config seeds"
        ),
    },
}
PROGRAM_EXAMPLES = {
    "Train on the bundled sample of 5,000 digits, in seconds": "fit --config quick",
    "Train on MNIST, which is downloaded": "fit",
    "Predict your own pictures": "predict --ckpt_path pretrained --data.images 'scans/*.png'",
    "Show the options of a command": "fit --help",
    "Show the versions of this package, torch and Lightning": "--version",
}
CKPT_PATH_HELP = (
    "Weights to load: best or last (of the newest run), pretrained (shipped with the package), or "
    "the path of a checkpoint. fit resumes from last in the same run folder and from a path in a "
    "new one; with pretrained it starts a new training from those weights. The other commands use "
    "best by default."
)
# Lightning's text says that the default is 1,000.
MAX_EPOCHS_HELP = """\
                        Number of epochs; -1 for no limit. The default, null,
                        is 10, or no limit together with max_steps or
                        max_time. (type: Optional[int], default: null)"""
# The options of the command itself first, then those of the groups in this order.
FIRST_OPTIONS = ("--space", "--format", "--data", "--model", "--trainer")


class ExampleFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's formatter, which leaves the lines of a description as they are."""


def program_name(has_own_classes: bool) -> str:
    """Returns how the program was started, for help and hints.

    Args:
        has_own_classes: Whether the program is that of another project.
    """
    if not has_own_classes:
        return "python -m mnist_lightning"
    spec = sys.modules["__main__"].__spec__
    if spec is not None:  # python -m my_package
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return f"python {quote(sys.argv[0])}"


def quote(path: str) -> str:
    """Returns a path as it is written in a command."""
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)


def parser_texts(program: str, commands: Iterable[str]) -> dict[str, Any]:
    """Returns the arguments of the program's parser, and below its name those of each command's.

    Args:
        program: How the program is started.
        commands: The commands that have a parser.
    """
    summaries = "\n".join(f"  {name:<10}{summary}" for name, summary in SUMMARIES.items())
    description = (
        f"Trains, tests and uses the MNIST digit CNN.\n\nCommands:\n{summaries}\n\n"
        + _examples(program, PROGRAM_EXAMPLES)
        + "\n\nEnvironment variables set options, too: PL_FIT__TRAINER__MAX_EPOCHS=3"
    )
    versions = (
        f"{mnist_lightning.__version__} (torch {torch.__version__}, "
        f"lightning {lightning.__version__}, Python {platform.python_version()})"
    )
    texts: dict[str, Any] = {
        "usage": f"{program} COMMAND [options]",
        "description": description,
        "prog": "mnist_lightning",
        "version": versions,
    }
    return texts | {name: command_texts(program, name) for name in commands}


def command_texts(program: str, name: str) -> dict[str, str]:
    """Returns the arguments of the parser of a command.

    Args:
        program: How the program is started.
        name: The command.
    """
    description = f"{SUMMARIES[name]}\n\n{_examples(program, EXAMPLES[name])}"
    if name in ("fit", "sweep"):
        description += f"\n\nRecipes for --config: {', '.join(recipes())}"
    usage = f"{program} {USAGES.get(name, name)} [options]"
    return {"usage": usage, "description": description}


def _examples(program: str, examples: dict[str, str]) -> str:
    lines = [f"  {text}:\n    {program} {args}" for text, args in examples.items()]
    return "\n".join(["Examples:", *lines])


def describe_only(text: str) -> str:
    """Returns the help of the program, whose description lists the subcommands, without the rest.

    Options before the subcommand are not useful, and argparse cuts descriptions after two lines.
    """
    return text.partition("\n\noptions:")[0] + "\n"


def arrange_help(text: str) -> str:
    """Returns the help of a command with the options of the data first and the general ones last.

    It omits the names of all modules of torch, which fill ten pages, and of its optimizers.
    """
    text = re.sub(r",\s+known\s+subclasses:\s+torch\.(?:nn|optim)\.[^)]*", "", text)
    if "--optimizer CONFIG" not in text:  # hidden, but jsonargparse shows how to get help about it
        hidden = r"\n  --(?:optimizer|lr_scheduler)\.help .*?(?=\n  -|\n\n|\Z)"
        text = re.sub(hidden, "", text, flags=re.DOTALL)
    max_epochs = r"(--trainer\.max_epochs MAX_EPOCHS\n).*?(?=\n  --)"
    text = re.sub(max_epochs, rf"\1{MAX_EPOCHS_HELP}", text, count=1, flags=re.DOTALL)
    head, *groups = re.split(r"\n\n(?=\S.*:\n  -)", text.rstrip())
    return "\n\n".join([head, *sorted(groups, key=_position)]) + "\n"


def _position(group: str) -> int:
    if group.startswith("options:"):
        return len(FIRST_OPTIONS) + 1
    positions = (i for i, name in enumerate(FIRST_OPTIONS) if re.search(rf"\n  {name} ", group))
    return next(positions, len(FIRST_OPTIONS))
