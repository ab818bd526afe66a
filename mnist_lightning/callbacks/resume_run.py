"""Makes a resumed run continue where it was interrupted."""

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import OneCycleLR
from typing_extensions import override

from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger


class ResumeRun(Callback):
    """Discards what the interrupted run logged after its last checkpoint, and checks its length."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = trainer.estimated_stepping_batches
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if isinstance(schedule, OneCycleLR) and schedule.total_steps != steps:
                raise MisconfigurationException(
                    f"a run with the one_cycle schedule has a fixed length, here "
                    f"{schedule.total_steps} steps instead of {steps:g}; resume it with the "
                    "options it was started with"
                )
        for logger in trainer.loggers:
            if isinstance(logger, EpochTensorBoardLogger):
                logger.forget_after(trainer.current_epoch)
