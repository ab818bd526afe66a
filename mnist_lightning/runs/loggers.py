"""The user's loggers: the epoch as their x axis, and their place when a run is resumed."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import DeviceStatsMonitor, LearningRateMonitor
from lightning.pytorch.loggers import (
    CometLogger,
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from torch import Tensor


def epoch_as_step(
    metrics: Mapping[str, float], step: int | None
) -> tuple[dict[str, float], int | None]:
    """Returns metrics without the epoch that Lightning adds to them, and the number of epochs.

    With one point per epoch, this is a better x axis than the optimizer step.

    Args:
        metrics: Metrics as Lightning passes them to a logger.
        step: The optimizer step, which is returned if there is no epoch.
    """
    metrics = dict(metrics)
    epoch = metrics.pop("epoch", None)
    if epoch is not None:
        # During training it is the index of the current epoch; in a test, the number of epochs.
        is_test = any(name.startswith("test") for name in metrics)
        step = int(epoch) + (not is_test)
    return metrics, step


def uses_epochs(trainer: Trainer | Namespace) -> bool:
    """Returns whether metrics are logged at most once per epoch, so that the epoch is the x axis.

    Args:
        trainer: A Trainer, or its options.
    """
    # A Trainer that validates at intervals of time lacks the attribute (Lightning 2.6).
    interval = getattr(trainer, "val_check_interval", 0)
    is_once = interval is None or (isinstance(interval, float) and interval == 1)
    callbacks = trainer.callbacks  # type: ignore[union-attr]
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    return (
        is_once
        and trainer.check_val_every_n_epoch is not None
        and not any(map(logs_within_epochs, callbacks))
    )


def logs_within_epochs(callback: Callback | None) -> bool:
    """Returns whether a callback logs metrics against the optimizer step."""
    if isinstance(callback, LearningRateMonitor):
        return callback.logging_interval != "epoch"
    return isinstance(callback, DeviceStatsMonitor)


def use_epochs(logger: Logger, trainer: Trainer) -> None:
    """Makes a logger log metrics against the number of completed epochs."""
    log_metrics = logger.log_metrics

    def log_against_epochs(metrics: Mapping[str, float], step: int | None = None) -> None:
        # LearningRateMonitor logs in on_train_epoch_start, before the epoch counts as started.
        progress = trainer.fit_loop.epoch_progress.current
        if progress.ready > progress.started:  # type: ignore[attr-defined]
            metrics = {"epoch": trainer.current_epoch, **metrics}
        log_metrics(*epoch_as_step(metrics, step))

    logger.log_metrics = log_against_epochs  # type: ignore[method-assign]


@contextmanager
def optional_save_dir() -> Iterator[None]:
    """Gives ``save_dir`` of loggers a default while options are parsed: the run folder.

    Lightning requires it, but ``run_arguments`` replaces an empty one. jsonargparse reads the
    defaults from the signatures, wherever a config mentions these loggers.
    """
    functions: list[Any] = [CSVLogger.__init__, TensorBoardLogger.__init__]
    defaults = [function.__defaults__ for function in functions]
    for function in functions:
        function.__defaults__ = ("", *function.__defaults__)
    try:
        yield
    finally:
        for function, original in zip(functions, defaults, strict=True):
            function.__defaults__ = original


def run_arguments(logger_class: type, folder: Path, version: str | None) -> dict[str, Any]:
    """Returns arguments with which a logger belongs to a run.

    Args:
        logger_class: The class of the logger.
        folder: The run folder; files of loggers get the same version.
        version: The logger's ``version`` when the run was interrupted, such as its name on a
            server; None if the run is new.
    """
    if issubclass(logger_class, TensorBoardLogger | CSVLogger):
        return {"save_dir": str(folder.parents[1]), "version": folder.name}
    if version is None:
        return {}
    if issubclass(logger_class, WandbLogger):
        return {"id": version, "resume": "allow"}
    if issubclass(logger_class, MLFlowLogger):
        return {"run_id": version}
    if issubclass(logger_class, CometLogger):
        return {"experiment_key": version}
    return {}


def read_rows(logger: CSVLogger) -> list[tuple[int, dict[str, Tensor | float]]]:
    """Returns what a CSVLogger wrote before: steps, and the metrics that were logged in them."""
    path = Path(logger.log_dir, "metrics.csv")
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        (
            int(row["step"]),
            {name: float(value) for name, value in row.items() if value and name != "step"},
        )
        for row in rows
    ]
