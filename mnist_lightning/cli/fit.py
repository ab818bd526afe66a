"""The command ``fit``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LambdaCallback,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mnist_lightning.callbacks.idle_hooks import skip_idle_hooks
from mnist_lightning.callbacks.run_checkpoint import RunCheckpoint
from mnist_lightning.callbacks.save_run_config import TUNERS
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.cli.evaluate import skip_test, test
from mnist_lightning.cli.help import quote
from mnist_lightning.cli.processes import is_connection_lost
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import print_line
from mnist_lightning.errors import CheckpointError
from mnist_lightning.runs.checkpoints import read_checkpoint
from mnist_lightning.runs.folder import Run
from mnist_lightning.runs.weights import Weights

log = logging.getLogger(__name__)

RESUMABLE = (KeyboardInterrupt, SystemExit, SIGTERMException, OSError, CheckpointError)


def fit(
    session: Session, run: Run | None, root: str | None, test_after_fit: bool
) -> dict[str, Any]:
    """Trains, then tests the best checkpoint, or the last one if there was no validation.

    Args:
        session: The session; ``weights`` becomes the checkpoint that is tested.
        run: The run folder, if ``--ckpt_path last`` can find it.
        root: The option ``--trainer.default_root_dir``, for the hint on how to resume.
        test_after_fit: Whether to test, if the options leave any test batches.

    Returns:
        The content of ``results.json``.
    """
    trainer, folder = session.trainer, session.folder
    # Data and frozen layers are known after setup only.
    announce = LambdaCallback(on_fit_start=lambda trainer, model: _print_start(session))
    trainer.callbacks.append(announce)  # type: ignore[attr-defined]
    if run:  # before other callbacks save anything, which would create the folder again
        check = LambdaCallback(on_train_epoch_end=lambda *_: run.check_exists())
        trainer.callbacks.insert(0, check)  # type: ignore[attr-defined]
    skip_idle_hooks(trainer.callbacks)  # type: ignore[attr-defined]
    _warn_about_averaging(trainer)
    with _resume_hint(session, run, root):
        resumed = session.weights if session.resumes else None
        if resumed:  # Lightning restores weights first, which would round those in float64
            trainer.precision_plugin.convert_module(session.model)
        trainer.fit(
            session.model,
            datamodule=session.datamodule,
            ckpt_path=resumed.path if resumed else None,
            weights_only=True,
        )
        # Lightning's tuners would run again before the test.
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        trainer.callbacks = [c for c in callbacks if not isinstance(c, TUNERS)]  # type: ignore[attr-defined]
        _remove_hpc_checkpoints(session)
        if resumed and trainer.global_step == resumed.steps:
            limit = "max_steps" if resumed.steps == trainer.max_steps else "max_epochs"
            print_line(f"The run was already complete; raise --trainer.{limit} to continue it")
            if folder is not None and (folder / "results.json").exists():
                trainer.loggers = []  # the test is logged already
        elif reason := _stop_reason(trainer):
            print_line(f"Stopped after {trainer.global_step:,} steps: {reason}")
        session.weights = _saved_weights(session)
        if session.weights:
            session.weights.load_into(session.model)
        is_tested = test_after_fit and trainer.limit_test_batches != 0
        return test(session) if is_tested else skip_test(session)


def _warn_about_averaging(trainer: Trainer) -> None:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    is_averaged = any(isinstance(c, StochasticWeightAveraging) for c in callbacks)
    if is_averaged and trainer.is_global_zero:
        log.warning(
            "The weights that StochasticWeightAveraging averages are not validated, saved or "
            "tested; use lightning.pytorch.callbacks.WeightAveraging instead"
        )


def _print_start(session: Session) -> None:
    """Prints what is trained, on which data, and where."""
    trainer, data, weights = session.trainer, session.datamodule, session.weights
    start, origin = "Training", ""
    if session.from_pretrained:
        origin = " from the pretrained weights"
    elif weights is not None and weights.is_trained:
        place = "within" if weights.is_within_epoch else "after"
        start = f"Resuming {place} epoch {weights.epochs}:"
    network = f"{_describe_network(session.model)}{origin}"
    images = ""
    if hasattr(data, "train_set"):  # a subclass may have loaders only
        images = (
            f": {len(data.train_set):,} images for training, {len(data.val_set):,} for validation"
        )
    device = f"Device {trainer.strategy.root_device}"
    if trainer.world_size > 1:
        device = f"{trainer.world_size} processes on {trainer.strategy.root_device.type}"
    folder = session.folder
    output = f"run folder {folder}" if folder else "no run folder"
    # One call, so that a script that reads only the first line does not stop the run here.
    print_line(
        f"{start} {network} on {data.dataset_name}{images}\n{device}, seed {session.seed}, {output}"
    )


def _describe_network(model: MNISTClassifier) -> str:
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    trained = "all" if trainable == total else f"{trainable:,} of them"
    return f"{type(model.network).__name__} ({total:,} parameters, {trained} trainable)"


def _remove_hpc_checkpoints(session: Session) -> None:
    """Removes checkpoints that Lightning saved for Slurm; it would load them before the test."""
    folder = session.folder
    if folder is not None and session.trainer.is_global_zero:
        for path in folder.glob("hpc_ckpt_*.ckpt"):
            path.unlink()


def _stop_reason(trainer: Trainer) -> str | None:
    """Returns why a fit ended before its last epoch; None if it did not."""
    if trainer.global_step == trainer.max_steps:
        return "--trainer.max_steps was reached"
    if not trainer.should_stop:
        return None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            return callback.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
        if isinstance(callback, Timer) and (callback.time_remaining() or 0) < 0:
            return "the time limit was reached"
    return "a callback requested it"


def _saved_weights(session: Session) -> Weights | None:
    """Returns the best checkpoint of this fit, or else the last one, or None, in every process."""
    trainer = session.trainer
    paths = [  # in the order of the callbacks: best, last
        Path(callback.best_model_path)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, RunCheckpoint) and callback.best_model_path
    ]
    if not paths:
        return None
    # Other machines may not have access to the file.
    checkpoint = read_checkpoint(paths[0]) if trainer.is_global_zero else {}
    return Weights(str(paths[0]), paths[0], trainer.strategy.broadcast(checkpoint))


@contextmanager
def _resume_hint(session: Session, run: Run | None, root: str | None) -> Iterator[None]:
    """Tells the user how to resume an interrupted fit."""
    try:
        yield
    except BaseException as error:
        is_resumable = isinstance(error, RESUMABLE) or is_connection_lost(error)
        has_checkpoint = run and (run.path / "checkpoints" / "last.ckpt").exists()
        if is_resumable and has_checkpoint and session.trainer.is_global_zero:
            option = f" --trainer.default_root_dir {quote(str(root))}" if root else ""
            log.warning(
                "To resume from the last complete epoch: %s fit --ckpt_path last%s",
                session.program,
                option,
            )
        raise
