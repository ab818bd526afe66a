"""Prints the results of a command, their weights and data, and where the files are."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from mnist_lightning.callbacks import ConfusionMatrix
from mnist_lightning.callbacks.captions import class_names
from mnist_lightning.cli.help import quote
from mnist_lightning.cli.report import class_table
from mnist_lightning.cli.session import Session
from mnist_lightning.data.datasets import full_name


@rank_zero_only
def print_line(line: str) -> None:
    """Prints in the first process only, and immediately, also into a pipe."""
    # print() would write the end of the line separately if PYTHONUNBUFFERED is set.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_result(session: Session, task: str, results: Sequence[Mapping[str, float]]) -> None:
    """Prints accuracy and loss, with the weights and the data they were measured with."""
    metrics = {
        name.rpartition("/")[2]: results[0][name] for name in (results[0] if results else {})
    }
    if not metrics:
        print_line(f"{task}: no result, because the options leave no batches, or logging is off")
        return
    print_line(f"{task} accuracy {metrics['acc']:.2%}, loss {metrics['loss']:.4f}")
    print_provenance(session)


def print_weights(session: Session) -> None:
    """Prints which weights were used."""
    if session.weights is not None:
        weights = f"{session.weights.path} (epoch {session.epochs})"
    elif not session.is_trained:
        weights = "UNTRAINED: the options leave no training step"
    else:
        weights = "those of the last training step; no checkpoint was saved"
    print_line(f"Weights:     {weights}")


def print_provenance(session: Session) -> None:
    """Prints which weights and data were used, and warns if they do not fit together."""
    print_weights(session)
    print_line(f"Data:        {session.datamodule.dataset_name}")
    for notice in (_mismatch(session), session.datamodule.fallback_notice):
        if notice:
            print_line(notice)


def _mismatch(session: Session) -> str | None:
    """Returns a note on weights that were trained on other data, or on the test data."""
    if session.weights is None:
        return None
    options = session.weights.options()["data"]
    trained_source = "mnist" if session.from_pretrained else options.get("source")
    trained_dataset = full_name(options.get("dataset", "MNIST"), options.get("emnist_split"))
    source = session.datamodule.source
    if trained_dataset != session.datamodule.dataset.name:
        return f"NOTE: the weights were trained on {trained_dataset}"
    if (trained_source, source) == ("mnist", "sample"):
        return (
            "NOTE: these digits were not held out: the weights were trained on all MNIST training "
            "images, and the sample's are among them"
        )
    if trained_source == "sample" and source != "sample":
        return "NOTE: the weights were trained on the sample only, not on MNIST"
    return None


def print_class_table(session: Session) -> None:
    """Prints the accuracy of each class, if there is a confusion matrix."""
    for callback in session.trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ConfusionMatrix) and callback.matrix is not None:
            names = class_names(session.trainer, callback.class_names, len(callback.matrix))
            print_line(class_table(callback.matrix, names))


def print_places(session: Session) -> None:
    """Prints the run folder, and the command that shows it in TensorBoard."""
    folder = session.folder
    if folder is not None:
        print_line(f"Run folder:  {folder}")
    for logger in session.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            root = quote(str(Path(logger.root_dir)))
            print_line(f"TensorBoard: tensorboard --logdir {root}")
