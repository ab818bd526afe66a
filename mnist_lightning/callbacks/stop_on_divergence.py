"""Stops a training run that diverges."""

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.errors import DivergedError


class StopOnDivergence(Callback):
    """Stops the training after an epoch with a loss or a weight that is NaN or infinite.

    It does so before the checkpoint of this epoch is saved, so that the previous one stays.
    """

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        for name in ("train/loss", "val/loss"):
            if name in metrics and not metrics[name].isfinite():
                raise _diverged(trainer, pl_module, f"{name} is {metrics[name]:g}")
        if not all(bool(weights.isfinite().all()) for weights in pl_module.parameters()):
            raise _diverged(trainer, pl_module, "a weight is NaN or infinite")


def _diverged(trainer: Trainer, pl_module: LightningModule, symptom: str) -> DivergedError:
    options = trainer.optimizers[0].param_groups[0]
    rate = options.get("max_lr") or options.get("initial_lr") or options["lr"]
    return DivergedError(
        f"training diverged in epoch {trainer.current_epoch + 1}: {symptom}; most likely the "
        f"learning rate of {rate:g} is too high, or images or labels are damaged; earlier "
        "checkpoints are intact"
    )
