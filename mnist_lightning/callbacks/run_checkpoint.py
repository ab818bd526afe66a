"""Saves the checkpoints of a run."""

import os
from pathlib import Path, PureWindowsPath
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from typing_extensions import override

from mnist_lightning.figures.publish import is_dry_run
from mnist_lightning.runs.checkpoints import RunCheckpointIO


class RunCheckpoint(ModelCheckpoint):
    """Saves ``name.ckpt`` after each epoch, independently of the user's ModelCheckpoints.

    With ``monitor``, the checkpoint contains exactly the weights that were validated: if training
    continues after a validation within an epoch, it is saved immediately.

    With ``RunCheckpointIO``, a checkpoint replaces the previous one only after the metrics of its
    epoch are logged, so that a resumed run misses nothing.

    Args:
        name: ``best`` or ``last``.
        resumes_in_place: Whether a run is resumed in its own folder.
        monitor: Metric whose lowest value is saved; default: the latest epoch is saved.
    """

    def __init__(self, name: str, resumes_in_place: bool, monitor: str | None = None) -> None:
        super().__init__(
            filename=name,
            monitor=monitor,
            enable_version_counter=False,
            save_on_train_epoch_end=True,  # a run can be resumed from a complete epoch only
        )
        self._resumes_in_place = resumes_in_place

    # Nothing is saved after a training step, so this hook can be skipped.
    on_train_batch_end = Callback.on_train_batch_end

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = trainer.log_dir  # a broadcast, so every process must ask
        self.dirpath = os.path.join(folder or "", "checkpoints")  # noqa: PTH118 - as ModelCheckpoint
        super().setup(trainer, pl_module, stage=stage)
        checkpoint_io = trainer.strategy.checkpoint_io
        if isinstance(checkpoint_io, RunCheckpointIO):
            checkpoint_io.deferred.add(Path(self.format_checkpoint_name({})))

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # The first epoch may be interrupted, too.
        if self.monitor is None and trainer.global_step == 0 and not is_dry_run(trainer):
            trainer.save_checkpoint(self.format_checkpoint_name({}), weights_only=False)
            _commit(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _commit(trainer)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor not in trainer.callback_metrics or trainer.sanity_checking:
            return
        is_epoch_end = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        # WeightAveraging may change the average at the end of an epoch.
        is_averaged = any(isinstance(c, WeightAveraging) for c in trainer.callbacks)  # type: ignore[attr-defined]
        if trainer.state.fn == "fit" and (is_averaged or not is_epoch_end):
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Before the first validation there is no metric to monitor. If the last one was within the
        # epoch, its checkpoint exists, and the same score does not replace it.
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        _commit(trainer)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score of a run that is resumed in its own folder, even a moved one."""
        if not self._resumes_in_place:
            return  # the new folder has no best checkpoint yet
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        scores = state_dict["best_k_models"].items()
        super().load_state_dict(
            state_dict
            | {name: self._relocate(state_dict[name]) for name in paths}
            | {"best_k_models": {self._relocate(path): score for path, score in scores}}
            | {"dirpath": self.dirpath}
        )

    def _relocate(self, path: str) -> str:
        # Joined as ModelCheckpoint does, because it removes a checkpoint whose path differs.
        # A PureWindowsPath reads the paths of every system.
        return path and os.path.join(self.dirpath or "", PureWindowsPath(path).name)  # noqa: PTH118

    @property
    @override
    def state_key(self) -> str:
        return f"mnist_lightning.{self.filename}"


def _commit(trainer: Trainer) -> None:
    """Commits the checkpoints of the previous epoch, after everything that was logged before."""
    checkpoint_io = trainer.strategy.checkpoint_io
    if isinstance(checkpoint_io, RunCheckpointIO) and checkpoint_io.uncommitted:
        for logger in trainer.loggers:
            logger.save()
        checkpoint_io.commit()
