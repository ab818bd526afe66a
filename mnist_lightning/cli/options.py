"""Parses a command line, with options of the weights and of environment variables as defaults."""

import unicodedata
from argparse import SUPPRESS
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from mnist_lightning.cli.configs import check_config, resolve_configs
from mnist_lightning.cli.help import CKPT_PATH_HELP, SUMMARIES
from mnist_lightning.cli.optimizers import (
    add_optimizer_arguments,
    check_optimizer,
    check_resumed_optimizer,
)
from mnist_lightning.cli.parser import OneSentenceParser
from mnist_lightning.cli.variables import errors_name_variables, options_of_environment
from mnist_lightning.errors import (
    CheckpointError,
    InvalidArgumentError,
    UsageError,
    check_integer,
)
from mnist_lightning.runs.checkpoints import read_checkpoint
from mnist_lightning.runs.loggers import optional_save_dir
from mnist_lightning.runs.slurm import requeued_checkpoint
from mnist_lightning.runs.weights import Weights, find_weights

DEFAULT_MAX_EPOCHS = 10  # unless the run has another limit


def add_options(parser: LightningArgumentParser) -> None:
    """Adds the options of a command that are not those of the Trainer, the model or the data."""
    parser.add_argument(
        "--ckpt_path",
        type=str | None,
        default=None,
        help=CKPT_PATH_HELP,
    )
    # The other commands accept it, too, because a config of fit contains it.
    is_fit = any(f" {command} " in str(parser.usage) for command in ("fit", "sweep"))
    parser.add_argument(
        "--test_after_fit",
        type=bool,
        default=True,
        help="Whether to test the weights after the training." if is_fit else SUPPRESS,
    )
    add_optimizer_arguments(parser, is_fit)
    with suppress(KeyError):  # a subclass may have other options
        parser.set_defaults({"model.num_classes": None})  # that of the data


def parse_options(
    parser: LightningArgumentParser, args: list[str], command_line: str
) -> tuple[Namespace, Weights | None]:
    """Parses a command line, and finds the weights that it names.

    Options of the weights, such as the dropout of their network, become the defaults of a second
    parse. LightningCLI would instead let them override the user's options, and would import the
    classes that a checkpoint names.

    Args:
        parser: The parser with its subcommands.
        args: The command line without the name of the program; an empty one means ``--help``.
        command_line: The complete command line, which identifies the run of a requeued job.

    Returns:
        The options, and the weights, or None for a training run from scratch.

    Raises:
        SystemExit: With 0 after ``--help`` or ``--version``.
        UserError: If an option is invalid, or the weights cannot be used.
    """
    assert isinstance(parser, OneSentenceParser)
    _check_encoding(args)
    parser.command = command = next((arg for arg in args if arg in parser.commands), "")
    is_help = not args or not {"-h", "--help"}.isdisjoint(args)
    if not command and not is_help and args[0].startswith("-") and args[0] != "--version":
        raise UsageError(
            f"the subcommand is missing; write one of {', '.join(SUMMARIES)} first, then its "
            "options: 'fit --config FILE'"
        )
    start = args.index(command) + 1 if command else len(args)
    own_args = args[start:]
    # A variable with an invalid value must not prevent --help.
    variables = options_of_environment(command) if command and not is_help else {}
    option_names = {arg.partition("=")[0] for arg in own_args}
    with errors_name_variables(command, set(variables) - option_names):
        user_args = [*resolve_configs([*variables.values()]), *resolve_configs(own_args)]
        command_args = resolve_configs(args[:start])
        with optional_save_dir():
            config, weights = _parse_with_weights(parser, command_args, user_args, command_line)
    trainer = config[config.subcommand].trainer
    if trainer.max_epochs is None:
        has_other_limit = trainer.max_steps != -1 or trainer.max_time is not None
        trainer.max_epochs = -1 if has_other_limit else DEFAULT_MAX_EPOCHS
    return config, weights


def _check_encoding(args: list[str]) -> None:
    for arg in args:
        if any(unicodedata.category(character) == "Cs" for character in arg):
            raise UsageError(f"the argument {arg!r} is not valid UTF-8; rename the file")


def _parse_with_weights(
    parser: OneSentenceParser, command_args: list[str], user_args: list[str], command_line: str
) -> tuple[Namespace, Weights | None]:
    config = parser.parse_args([*command_args, *user_args] or ["--help"])
    subcommand = config.subcommand
    options = config[subcommand]
    check_integer("--seed_everything", options.seed_everything, 0, 2**32 - 1)
    check_optimizer(options, parser, {arg.partition("=")[0] for arg in user_args})
    root = Path(options.trainer.default_root_dir or "")
    is_fit = subcommand == "fit"
    requeued = requeued_checkpoint(root, command_line) if is_fit else None
    name = options.ckpt_path
    if name == "":
        raise InvalidArgumentError("--ckpt_path", name, "use best, last, pretrained or a path")
    if requeued:
        weights = Weights("last", requeued, read_checkpoint(requeued))
        user_args = []  # the config of the run contains them
    elif name is None and is_fit:
        return config, None
    else:
        weights = find_weights(name or "best", root, allow_untrained=is_fit)
    # The options of the weights come first, so that the user's own options override them.
    is_resumed = resumes_in_place(subcommand, weights)
    defaults = ["--config", _config_of(weights, subcommand, options)]
    config = parser.parse_args([*command_args, *defaults, *user_args])
    trained_dataset = weights.options()["data"].get("dataset", "MNIST")
    # A run that is resumed keeps its config, whatever the data.
    if not is_resumed and config[subcommand].data.get("dataset", "MNIST") != trained_dataset:
        defaults = ["--config", _config_of(weights, subcommand, options, omits_data=True)]
        config = parser.parse_args([*command_args, *defaults, *user_args])
    if resumes(subcommand, weights):
        _check_resume(weights, config[subcommand], parser)
    return config, weights


def resumes(subcommand: str, weights: Weights | None) -> bool:
    """Returns whether a command resumes the training run of the weights."""
    return subcommand == "fit" and weights is not None and not weights.is_pretrained


def resumes_in_place(subcommand: str, weights: Weights | None) -> bool:
    """Returns whether a command resumes a training run in its own folder."""
    return subcommand == "fit" and weights is not None and weights.name == "last"


def _config_of(
    weights: Weights, subcommand: str, accepted: Namespace, omits_data: bool = False
) -> str:
    """Returns the path of a config, or a config as YAML; the parser accepts both.

    Args:
        weights: The weights.
        subcommand: The command.
        accepted: The options of the command; subclasses of model and data may have other ones.
        omits_data: Whether to omit options that apply only to the data of the weights.
    """
    path = weights.run_folder / "config.yaml"
    if resumes_in_place(subcommand, weights) and path.is_file():
        check_config(path)
        return str(path)
    options = weights.options()
    if omits_data or weights.is_pretrained:  # used on other images than they were trained on
        options["data"].pop("source", None)
        options["data"].pop("emnist_split", None)
    if not resumes(subcommand, weights):
        options["data"].pop("batch_size", None)
    config: dict[str, Any] = {
        group: {name: value for name, value in values.items() if name in accepted[group]}
        for group, values in options.items()
    }
    if resumes(subcommand, weights):
        run_config = weights.run_config()
        config |= {key: run_config.get(key) for key in ("optimizer", "lr_scheduler")}
    return yaml.safe_dump(config)


def _check_resume(weights: Weights, options: Namespace, parser: OneSentenceParser) -> None:
    if "optimizer_states" not in weights.checkpoint:
        raise CheckpointError(
            f"{weights.path} contains no optimizer state, so training cannot be resumed from it"
        )
    saved_options = weights.options()["model"]
    for name in ("learning_rate", "schedule", "weight_decay"):
        saved, value = saved_options.get(name), options.model.get(name)
        if saved not in (None, value):
            raise InvalidArgumentError(
                f"--model.{name}",
                value,
                f"a resumed run keeps its own, {saved}, which is part of the optimizer state",
            )
    check_optimizer(options, parser)
    check_resumed_optimizer(options, weights.optimizer_options(), parser)
