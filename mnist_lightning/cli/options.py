"""Parses a command line, with the options that belong to the weights as defaults."""

from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from mnist_lightning.cli.parser import check_command_line
from mnist_lightning.errors import CheckpointError, InvalidArgumentError, check_integer
from mnist_lightning.runs.weights import Weights, find_weights


def parse_options(
    parser: LightningArgumentParser, args: list[str]
) -> tuple[Namespace, Weights | None]:
    """Parses a command line, and finds the weights that it names.

    Options of the weights, such as the dropout of their network, become the defaults of a second
    parse. LightningCLI would instead let them override the user's options, and would import the
    classes that a checkpoint names.

    Args:
        parser: The parser with its subcommands.
        args: The command line without the name of the program.

    Returns:
        The options, and the weights, or None for a training run from scratch.

    Raises:
        UserError: If an option is invalid, or the weights cannot be used.
    """
    check_command_line(args)
    config = parser.parse_args(args)
    subcommand = config.subcommand
    options = config[subcommand]
    check_integer("--seed_everything", options.seed_everything, 0, 2**32 - 1)
    name = options.ckpt_path
    if name == "":
        raise InvalidArgumentError("--ckpt_path", name, "use best, last, pretrained or a path")
    if name is None and subcommand == "fit":
        return config, None
    root = Path(options.trainer.default_root_dir or "")
    weights = find_weights(name or "best", root, allow_untrained=subcommand == "fit")
    # The options of the weights come first, so that the user's own options override them.
    defaults = ["--config", _config_of(weights, resumes_in_place(subcommand, weights))]
    config = parser.parse_args([subcommand, *defaults, *args[1:]])
    if resumes(subcommand, weights):
        _check_resume(weights, config[subcommand])
    return config, weights


def resumes(subcommand: str, weights: Weights | None) -> bool:
    """Returns whether a command resumes the training run of the weights."""
    return subcommand == "fit" and weights is not None and not weights.is_pretrained


def resumes_in_place(subcommand: str, weights: Weights | None) -> bool:
    """Returns whether a command resumes a training run in its own folder."""
    return subcommand == "fit" and weights is not None and weights.name == "last"


def _config_of(weights: Weights, is_resumed: bool) -> str:
    """Returns the path of a config, or a config as YAML; the parser accepts both."""
    run_config = weights.run_folder / "config.yaml"
    if is_resumed and run_config.is_file():
        return str(run_config)
    options = weights.options()
    if weights.is_pretrained:  # they may be used on other images than they were trained on
        del options["data"]["source"]
    return yaml.safe_dump(options)


def _check_resume(weights: Weights, options: Namespace) -> None:
    if "optimizer_states" not in weights.checkpoint:
        raise CheckpointError(
            f"{weights.path} contains no optimizer state, so training cannot be resumed from it"
        )
    saved_options = weights.options()["model"]
    for name in ("learning_rate", "schedule", "weight_decay"):
        saved, value = saved_options.get(name), options.model[name]
        if saved not in (None, value):
            raise InvalidArgumentError(
                f"--model.{name}",
                value,
                f"a resumed run keeps its own, {saved}, which is part of the optimizer state",
            )
