"""What the command line adds to the user's Trainer: callbacks, a logger, checkpoints."""

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.plugins import CheckpointIO

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
from mnist_lightning.callbacks.resume_run import ResumeRun
from mnist_lightning.callbacks.run_checkpoint import RunCheckpoint
from mnist_lightning.callbacks.stop_on_divergence import StopOnDivergence
from mnist_lightning.callbacks.stop_on_sigterm import StopOnSigterm
from mnist_lightning.runs.checkpoints import RunCheckpointIO

TRAINER_DEFAULTS = {
    "devices": 1,
    "enable_model_summary": False,
    "log_every_n_steps": 0,  # metrics are logged once per epoch
    "max_epochs": 10,
    "num_sanity_val_steps": 0,
}


def default_callbacks(
    subcommand: str, options: Namespace, resumes: bool, resumes_in_place: bool
) -> list[Callback]:
    """Returns the callbacks that a command adds to the user's.

    Args:
        subcommand: The command.
        options: The user's options of the Trainer. A callback of the user replaces the default one
            of the same class, and any progress bar replaces the default one.
        resumes: Whether a training is resumed.
        resumes_in_place: Whether it is resumed in its own run folder.
    """
    callbacks: list[Callback] = [StopOnSigterm()]
    if options.enable_progress_bar is not False:
        callbacks.append(EpochProgress())
    if subcommand == "fit":
        callbacks += [SeedEveryEpoch(), LearningCurves(), TrainingImages(), FirstLayerFilters()]
    if subcommand in ("fit", "test"):
        callbacks += [PredictionGrid(), ConfusionMatrix(), MisclassifiedGrid()]
    if resumes:
        callbacks.append(ResumeRun())
    if subcommand == "fit":
        callbacks.append(StopOnDivergence())
    of_user = _as_list(options.callbacks)
    callbacks = [
        callback
        for callback in callbacks
        if not any(_replaces(user_callback, callback) for user_callback in of_user)
    ]
    if subcommand == "fit" and options.enable_checkpointing is not False:
        if options.limit_val_batches != 0:
            callbacks.append(RunCheckpoint("best", resumes_in_place, monitor="val/loss"))
        callbacks.append(RunCheckpoint("last", resumes_in_place))
    return callbacks


def _replaces(user_callback: Callback, callback: Callback) -> bool:
    kind = ProgressBar if isinstance(callback, ProgressBar) else type(callback)
    return isinstance(user_callback, kind)


def with_checkpoint_io(plugins: Any) -> list[Any]:
    """Returns the user's plugins, and ``RunCheckpointIO`` unless they contain a CheckpointIO."""
    plugins = _as_list(plugins)
    if any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        return plugins
    return [*plugins, RunCheckpointIO()]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return [*value] if isinstance(value, list) else [value]
