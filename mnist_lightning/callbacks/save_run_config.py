"""Saves the config of a run."""

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from typing_extensions import override

from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.files import write_atomically
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger

NOT_HYPERPARAMETERS = ("cuda_graph", "data_dir", "mirrors", "num_classes")


class SaveRunConfig(SaveConfigCallback):
    """LightningCLI's callback that saves ``config.yaml``, with the data source that was used.

    It also passes the hyperparameters of the config to TensorBoard. A resumed run keeps its config
    until the first epoch is complete, because the new options may turn out to be invalid; then its
    ``results.json`` is removed, because only a complete run has one.

    Arguments are those of ``SaveConfigCallback``; ``overwrite`` means that the run is resumed.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, MNISTDataModule) and "source" in self.config.data:
            self.config.data.source = datamodule.source
        self._folder = Path(trainer.log_dir or "")  # a broadcast, so every process must ask
        hparams = vars(self.config.data) | vars(self.config.model)
        hparams = {name: hparams[name] for name in hparams if name not in NOT_HYPERPARAMETERS}
        for logger in trainer.loggers:
            if isinstance(logger, EpochTensorBoardLogger):
                logger.run_hparams = hparams | {"seed": self.config.seed_everything}
        if not self.overwrite:
            super().setup(trainer, pl_module, stage)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.overwrite and not self.already_saved and trainer.is_global_zero:
            # A run without results.json is not finished.
            (self._folder / "results.json").unlink(missing_ok=True)
        super().setup(trainer, pl_module, "fit")

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        path = self._folder / self.config_filename
        if path.exists() and not self.overwrite:
            raise UserError(
                f"{path} belongs to another run; choose another --trainer.logger.save_dir"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.parser.dump(self.config, skip_none=False).encode())
