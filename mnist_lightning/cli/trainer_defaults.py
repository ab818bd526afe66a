"""Additions of the command line to the user's Trainer: callbacks, a logger, checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    ProgressBar,
)
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from mnist_lightning.callbacks import (
    ConfusionMatrix,
    EpochProgress,
    FirstLayerFilters,
    LearningCurves,
    MisclassifiedGrid,
    PredictionGrid,
    SeedEveryEpoch,
    TrainingImages,
)
from mnist_lightning.callbacks.probability_metrics import ProbabilityMetrics
from mnist_lightning.callbacks.resume_run import ResumeRun
from mnist_lightning.callbacks.run_checkpoint import RunCheckpoint
from mnist_lightning.callbacks.save_history import SaveHistory
from mnist_lightning.callbacks.save_run_config import TUNERS
from mnist_lightning.callbacks.stop_on_divergence import StopOnDivergence
from mnist_lightning.callbacks.stop_on_sigterm import StopOnSigterm
from mnist_lightning.cli.options import resumes, resumes_in_place
from mnist_lightning.runs.checkpoints import RunCheckpointIO
from mnist_lightning.runs.environment import logger_versions
from mnist_lightning.runs.folder import Run
from mnist_lightning.runs.loggers import logs_within_epochs, run_arguments, uses_epochs
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger
from mnist_lightning.runs.weights import Weights

TRAINER_DEFAULTS = {
    "devices": 1,
    "enable_model_summary": False,
    "log_every_n_steps": 0,  # metrics are logged once per epoch
    "num_sanity_val_steps": 0,
}

LOG_EVERY_N_STEPS = 10  # with callbacks that log within an epoch


def open_run(subcommand: str, options: Namespace, weights: Weights | None) -> Run | None:
    """Opens the run folder of a command.

    Args:
        subcommand: The command.
        options: The user's options of the Trainer.
        weights: The weights of the command, if any.

    Returns:
        The run, or None if the command writes no files, or in all processes but the first for a new
        run.
    """
    if subcommand not in ("fit", "test", "predict") or options.fast_dev_run or options.barebones:
        return None
    if weights is not None and resumes_in_place(subcommand, weights):
        run: Run | None = Run(weights.run_folder, is_new=False)
    else:
        run = rank_zero_only(Run.create)(Path(options.default_root_dir or ""))
    if run and subcommand == "fit":
        run.lock()
    return run


@contextmanager
def run_of_loggers(options: Namespace, run: Run | None) -> Iterator[None]:
    """Adds arguments to the config of the user's loggers while these are instantiated.

    Files of loggers get the version of the run folder. A logger of a run that is resumed continues
    its own run, for example on a server.

    Args:
        options: The user's options of the Trainer.
        run: The run folder, if there is one.
    """
    original = options.logger
    if run and original not in (None, True, False):
        loggers = [_with_run(logger, run) for logger in _as_list(original)]
        options.logger = loggers if isinstance(original, list) else loggers[0]
    try:
        yield
    finally:
        options.logger = original


def _with_run(config: Namespace, run: Run) -> Namespace:
    module, _, name = config.class_path.rpartition(".")
    logger_class = getattr(import_module(module), name)
    version = None if run.is_new else logger_versions(run.path).get(name)
    config = config.clone()
    for argument, value in run_arguments(logger_class, run.path, version).items():
        if config.init_args.get(argument) in (None, ""):
            config.init_args[argument] = value
    return config


def trainer_options(
    subcommand: str, options: Namespace, run: Run | None, weights: Weights | None
) -> dict[str, Any]:
    """Returns options that replace the user's: logger, folder, plugins and callbacks.

    Args:
        subcommand: The command.
        options: The user's options of the Trainer.
        run: The run folder, if there is one.
        weights: The weights of the command, if any.
    """
    replacements: dict[str, Any] = {"plugins": _as_list(options.plugins)}
    callbacks = _as_list(options.callbacks)
    if subcommand != "fit" or resumes(subcommand, weights):  # the values were found before
        replacements["callbacks"] = [c for c in callbacks if not isinstance(c, TUNERS)]
    if not any(isinstance(plugin, CheckpointIO) for plugin in replacements["plugins"]):
        replacements["plugins"].append(RunCheckpointIO())
    if run:
        replacements["default_root_dir"] = str(run.path)
    if options.log_every_n_steps == 0 and any(map(logs_within_epochs, callbacks)):
        replacements["log_every_n_steps"] = LOG_EVERY_N_STEPS
    if options.logger not in (None, True, False):
        return replacements
    # Lightning replaces a logger by a dummy in a fast_dev_run, so that callbacks can use it.
    replacements["logger"] = options.logger is not False and bool(options.fast_dev_run)
    if subcommand == "fit" and options.logger is not False and not options.fast_dev_run:
        root = run.path.parents[1] if run else Path(options.default_root_dir or "")
        version = run.path.name if run else None
        is_new = run is None or run.is_new
        replacements["logger"] = EpochTensorBoardLogger(
            root, version=version, log_graph=is_new, uses_epochs=uses_epochs(options)
        )
    return replacements


def default_callbacks(
    subcommand: str, options: Namespace, weights: Weights | None
) -> list[Callback]:
    """Returns the callbacks that a command adds to the user's.

    Args:
        subcommand: The command.
        options: The user's options of the Trainer. A callback of the user replaces the default one
            of the same class, and any progress bar replaces the default one.
        weights: The weights of the command, if any.
    """
    callbacks: list[Callback] = [StopOnSigterm()]
    if options.enable_progress_bar is not False:
        callbacks.append(EpochProgress())
    if subcommand == "fit":
        callbacks += [SeedEveryEpoch(), LearningCurves(), TrainingImages(), FirstLayerFilters()]
    if subcommand in ("fit", "test"):
        callbacks += [
            PredictionGrid(),
            ConfusionMatrix(),
            MisclassifiedGrid(),
            ProbabilityMetrics(),
        ]
    if resumes(subcommand, weights):
        metrics = weights.plateau_metrics if weights else None
        callbacks.append(ResumeRun(_as_list(options.logger), uses_epochs(options), metrics))
    if subcommand == "fit":
        callbacks += [StopOnDivergence(), SaveHistory()]
    user_callbacks = _as_list(options.callbacks)
    callbacks = [
        callback
        for callback in callbacks
        if not any(_replaces(user_callback, callback) for user_callback in user_callbacks)
    ]
    if subcommand == "fit" and options.enable_checkpointing is not False:
        is_resumed = resumes_in_place(subcommand, weights)
        if options.limit_val_batches != 0:
            callbacks.append(RunCheckpoint("best", is_resumed, monitor="val/loss"))
        callbacks.append(RunCheckpoint("last", is_resumed))
    return callbacks


def _replaces(user_callback: Callback, callback: Callback) -> bool:
    kind = ProgressBar if isinstance(callback, ProgressBar) else type(callback)
    return isinstance(user_callback, kind)


def _as_list(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [value for value in values if value is not None]
