"""The options ``--optimizer`` and ``--lr_scheduler`` of LightningCLI."""

from argparse import SUPPRESS
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, cast

from jsonargparse import Namespace
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import (
    LightningArgumentParser,
    LRSchedulerTypeTuple,
    instantiate_class,
)
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from mnist_lightning.callbacks.save_run_config import optimizer_options
from mnist_lightning.cli.compatibility import EXPECTED_ERRORS
from mnist_lightning.cli.parser import OneSentenceParser
from mnist_lightning.errors import UsageError

OPTIMIZER_HELP = (
    "Optimizer instead of Adam, a class of torch.optim or your own: "
    "--optimizer SGD --optimizer.lr 0.1"
)
LR_SCHEDULER_HELP = (
    "Learning rate schedule, stepped after each epoch, or after each batch for OneCycleLR and "
    "CyclicLR: --lr_scheduler CosineAnnealingLR --lr_scheduler.T_max 10"
)
STEPPED_PER_BATCH = (CyclicLR, OneCycleLR)  # as their documentation and Lightning recommend
# Options of the model for its own optimizer, and what replaces them.
REPLACED_OPTIONS = {
    "optimizer": {
        "learning_rate": "use --optimizer.lr",
        "weight_decay": "use --optimizer.weight_decay",
        "schedule": "use --lr_scheduler",
        "sam_radius": "it requires the default Adam",
    },
    "lr_scheduler": {"schedule": "use only one of them"},
}


def add_optimizer_arguments(parser: LightningArgumentParser, is_fit: bool) -> None:
    """Adds ``--optimizer`` and ``--lr_scheduler`` with the arguments of the chosen classes.

    LightningCLI can add them itself, but would ignore a schedule without an optimizer, and warn
    that the model's own optimizer is replaced.

    Args:
        parser: The parser of a command.
        is_fit: Whether to show them in the help; other commands only accept the config of a fit.
    """
    kwargs: dict[str, Any] = {"as_group": False, "instantiate": False, "fail_untyped": False}
    parser.add_subclass_arguments(
        (Optimizer,),
        "optimizer",
        skip={"params"},
        help=OPTIMIZER_HELP if is_fit else SUPPRESS,
        **kwargs,
    )
    parser.add_subclass_arguments(
        LRSchedulerTypeTuple,
        "lr_scheduler",
        skip={"optimizer"},
        help=LR_SCHEDULER_HELP if is_fit else SUPPRESS,
        **kwargs,
    )


def check_optimizer(
    options: Namespace, parser: OneSentenceParser, user_options: Collection[str] = ()
) -> None:
    """Checks that options for the optimizer do not contradict each other.

    Args:
        options: The options of a command.
        parser: The parser, which knows their defaults, or that of ``sweep``.
        user_options: The options that the user wrote, such as ``--model.learning_rate``.

    Raises:
        UsageError: If an option of the model would have no effect.
    """
    if not (options.optimizer or options.lr_scheduler):
        return
    defaults = parser.commands.get("fit", parser).get_defaults().model
    for key, replaced in REPLACED_OPTIONS.items():
        for name, hint in replaced.items() if options[key] else ():
            value, default = options.model.get(name), defaults.get(name)
            if value != default or f"--model.{name}" in user_options:
                raise UsageError(
                    f"--model.{name} is {value}, but has no effect together with --{key}; {hint}, "
                    f"or leave --model.{name} out, whose default is {default}"
                )


def check_resumed_optimizer(
    options: Namespace, saved_options: Mapping[str, Any], parser: OneSentenceParser
) -> None:
    """Checks that a resumed run keeps its optimizer and its schedule.

    Args:
        options: The options of the command.
        saved_options: Those of the run.
        parser: The parser.

    Raises:
        UsageError: If they differ.
    """
    for key, value in optimizer_options(parser.commands["fit"], options).items():
        saved = saved_options.get(key)
        if saved != value:
            raise UsageError(
                f"--{key} is {_describe(value)}; a resumed run keeps its own, {_describe(saved)}, "
                "which is part of the optimizer state; pass the options it was trained with, for "
                "example --config RUN/config.yaml"
            )


def _describe(config: Any) -> str:
    """Returns a class and its arguments as in a call."""
    if not isinstance(config, dict):
        return "null"
    arguments = (f"{name}={value!r}" for name, value in config.get("init_args", {}).items())
    return f"{config.get('class_path')}({', '.join(arguments)})"


def use_optimizer(model: LightningModule, options: Namespace) -> None:
    """Makes a model use the optimizer and the schedule of the options, if there are any.

    Raises:
        UsageError: If a class rejects its arguments.
    """
    if options.optimizer or options.lr_scheduler:
        configure = partial(_configure, model, options)
        configure(AdamW(model.parameters()))  # reports invalid arguments before the run starts
        model.configure_optimizers = configure  # type: ignore[method-assign]


def _configure(
    model: LightningModule, options: Namespace, default: Optimizer | None = None
) -> Optimizer | OptimizerLRSchedulerConfig:
    """Implements ``configure_optimizers``."""
    if options.optimizer:
        optimizer: Optimizer = _instantiate("optimizer", model.parameters(), options)
    else:
        optimizer = default or cast("Optimizer", type(model).configure_optimizers(model))
    if options.lr_scheduler is None:
        return optimizer
    if not isinstance(optimizer, Optimizer):
        raise UsageError(
            f"--lr_scheduler is {options.lr_scheduler.class_path}, but "
            f"{type(model).__name__}.configure_optimizers returns more than an optimizer; pass "
            "--optimizer, too"
        )
    scheduler = _instantiate("lr_scheduler", optimizer, options)
    return {
        "optimizer": optimizer,
        "lr_scheduler": LRSchedulerConfigType(
            scheduler=scheduler,
            interval="step" if isinstance(scheduler, STEPPED_PER_BATCH) else "epoch",
            monitor=getattr(scheduler, "monitor", "val/loss"),  # for ReduceLROnPlateau
        ),
    }


def _instantiate(key: str, argument: Any, options: Namespace) -> Any:
    config = options[key].as_dict()
    try:
        return instantiate_class(argument, config)
    except EXPECTED_ERRORS as error:
        raise UsageError(
            f"--{key}: {config['class_path']} rejected its options: {error}"
        ) from error
