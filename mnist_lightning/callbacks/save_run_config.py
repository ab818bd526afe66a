"""Saves the config of a run."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities.parsing import lightning_setattr
from typing_extensions import override

from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.files import write_atomically
from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger

NOT_HYPERPARAMETERS = ("cuda_graph", "data_dir", "learning_rate", "mirrors", "num_classes")


TUNERS = (BatchSizeFinder, LearningRateFinder)


def optimizer_options(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """Returns the chosen optimizer and schedule as in a config file, or None for each of them."""
    keys = ("optimizer", "lr_scheduler")
    if not any(config.get(key) for key in keys):  # which saves the time to write all options
        return dict.fromkeys(keys)
    content = yaml.safe_load(parser.dump(config, skip_none=False))
    return {key: content.get(key) for key in keys}


class SaveRunConfig(SaveConfigCallback):
    """LightningCLI's callback that saves ``config.yaml``, with the values that are used.

    They include the data source, and the values found by Lightning's tuners. It also passes the
    hyperparameters of the config to TensorBoard, and saves the optimizer in checkpoints. A resumed
    run keeps its config until the first epoch is complete, because the new options may turn out to
    be invalid; then its ``results.json`` is removed, because only a complete run has one.

    Arguments are those of ``SaveConfigCallback``; ``overwrite`` means that the run is resumed.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, MNISTDataModule) and "source" in self.config.data:
            self.config.data.source = datamodule.source
        self._optimizer_options = optimizer_options(self.parser, self.config)
        self._folder = Path(trainer.log_dir or "")  # a broadcast, so every process must ask
        if not self.overwrite:
            super().setup(trainer, pl_module, stage)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found_values = {}
        if any(isinstance(callback, TUNERS) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            found_values = self._update_tuned_options(trainer, pl_module)
        if found_values and trainer.is_global_zero:
            self._write_config()
        for logger in trainer.loggers:
            if isinstance(logger, EpochTensorBoardLogger):
                logger.run_hparams = self._hparams()
                continue
            # Lightning has logged those of model and data; MLflow rejects another value.
            hparams = {} if isinstance(logger, MLFlowLogger) else dict(found_values)
            if hparams | self._optimizer_hparams():
                logger.log_hyperparams(hparams | self._optimizer_hparams())

    def _update_tuned_options(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, float]:
        """Returns the values that Lightning's tuners found after the config was saved."""
        owners = {"learning_rate": ("model", pl_module), "batch_size": ("data", trainer.datamodule)}  # type: ignore[attr-defined]
        found_values = {}
        for name, (group, owner) in owners.items():
            value, options = getattr(owner, name, None), self.config[group]
            if name in options and value is not None and value != options[name]:
                found_values[name] = value
                if name == "learning_rate" and self.config.get("optimizer"):
                    lightning_setattr(pl_module, name, options[name])  # it has no effect
                    options, name = self.config.optimizer.get("init_args", {}), "lr"
                if name not in options:
                    raise MisconfigurationException(
                        "LearningRateFinder requires an optimizer with the argument lr"
                    )
                options[name] = value
        self._optimizer_options = optimizer_options(self.parser, self.config)
        trainer.strategy.setup_optimizers(trainer)  # a schedule depends on found values
        return found_values

    def _hparams(self) -> dict[str, Any]:
        """Returns the hyperparameters; TensorBoard sorts them by name if no run differs."""
        config = self.config
        settings = {**vars(config.data), **vars(config.model), **self._optimizer_hparams()}
        hparams = {
            "epochs": config.trainer.max_epochs,
            "learning_rate": settings.pop("optimizer.lr", config.model.get("learning_rate")),
            "seed": config.seed_everything,
        }
        return hparams | {
            f"settings/{name}": value
            for name, value in settings.items()
            if name not in NOT_HYPERPARAMETERS
        }

    def _optimizer_hparams(self) -> dict[str, Any]:
        hparams = {}
        for key, chosen in self._optimizer_options.items():
            if chosen:
                hparams[key] = chosen["class_path"].rpartition(".")[2]
                arguments = chosen.get("init_args", {}).items()
                hparams |= {f"{key}.{name}": value for name, value in arguments}
        return hparams

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["optimizer_options"] = self._optimizer_options

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.overwrite and not self.already_saved and trainer.is_global_zero:
            # A run without results.json is not finished.
            (self._folder / "results.json").unlink(missing_ok=True)
        super().setup(trainer, pl_module, "fit")

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_config()

    def _write_config(self) -> None:
        text = self.parser.dump(self.config, skip_none=False)
        write_atomically(self._folder / self.config_filename, text.encode())
