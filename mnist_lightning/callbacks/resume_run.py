"""Makes a resumed run continue where it was interrupted."""

from collections.abc import Iterable, Mapping

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from typing_extensions import override

from mnist_lightning.runs.loggers import read_rows
from mnist_lightning.runs.tensorboard import purge_after


class ResumeRun(Callback):
    """Discards what the interrupted run logged after its last checkpoint, and checks its length.

    Args:
        loggers: The loggers of the run, before they are used: a CSVLogger deletes an existing file.
        uses_epochs: Whether their x axis is the number of epochs, instead of the optimizer step.
        plateau_metrics: Metrics with which ReduceLROnPlateau takes the step that the checkpoint
            lacks, because Lightning takes it after saving the checkpoint of an epoch.
    """

    def __init__(
        self,
        loggers: Iterable[Logger] = (),
        uses_epochs: bool = True,
        plateau_metrics: Mapping[str, float] | None = None,
    ) -> None:
        self._uses_epochs = uses_epochs
        self._plateau_metrics = plateau_metrics or {}
        # Bound here, because the command line makes log_metrics convert steps to epochs.
        self._rows = [
            (logger.log_metrics, read_rows(logger))
            for logger in loggers
            if isinstance(logger, CSVLogger)
        ]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = trainer.estimated_stepping_batches
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            metric = self._plateau_metrics.get(config.monitor or "")
            if isinstance(schedule, ReduceLROnPlateau) and metric is not None:
                schedule.step(metric)
            # A schedule that the user chose instead has its own number of steps.
            is_own = getattr(pl_module, "schedule", "one_cycle") == "one_cycle"
            if is_own and isinstance(schedule, OneCycleLR) and schedule.total_steps != steps:
                raise MisconfigurationException(
                    f"a run with the one_cycle schedule has a fixed length, here "
                    f"{schedule.total_steps} steps instead of {steps:g}; resume it with the "
                    "options it was started with"
                )
        # Lightning counts steps from zero.
        last_step = trainer.current_epoch if self._uses_epochs else trainer.global_step - 1
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                purge_after(logger, last_step)
        for log_metrics, rows in self._rows:
            for step, metrics in rows:
                if step <= last_step:
                    log_metrics(metrics, step)
