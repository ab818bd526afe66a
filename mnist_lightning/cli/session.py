"""The objects that a command works with."""

from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import Trainer

from mnist_lightning.callbacks.save_history import SaveHistory
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.files import write_atomically
from mnist_lightning.runs.weights import Weights


@dataclass
class Session:
    """A command's Trainer, model and data, as set up by the command line.

    Attributes:
        trainer: The Trainer.
        model: The model, with ``weights`` loaded.
        datamodule: The data.
        weights: The weights named by ``--ckpt_path``; after ``fit``, those that are tested. None
            if the model is not trained yet.
        resumes: Whether ``fit`` resumes the training of ``weights``.
        from_pretrained: Whether the training started from the pretrained weights, or these are
            used as they are.
        seed: Seed of the run.
        program: How the program was started, for hints.
        has_folder: Whether the command writes into a run folder.
    """

    trainer: Trainer
    model: MNISTClassifier
    datamodule: MNISTDataModule
    weights: Weights | None
    resumes: bool
    from_pretrained: bool
    seed: int
    program: str
    has_folder: bool

    @property
    def folder(self) -> Path | None:
        """The run folder. Collective: every process must access it."""
        return Path(self.trainer.log_dir or "") if self.has_folder else None

    @property
    def epochs(self) -> int:
        """Number of epochs the weights were trained for."""
        return self.weights.epochs if self.weights else self.trainer.current_epoch

    @property
    def is_trained(self) -> bool:
        """Whether the model has been trained at all."""
        return self.weights is not None or self.trainer.global_step > 0

    def validation_metrics(self) -> dict[str, float]:
        """Returns the validation metrics of the weights, if they were validated."""
        if self.weights is not None:
            return self.weights.validation_metrics
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SaveHistory):
                return callback.validation_metrics(self.trainer)
        return {}

    def write(self, name: str, text: str) -> None:
        """Writes a text file into the run folder, in the first process only."""
        folder = self.folder
        if folder is not None and self.trainer.is_global_zero:
            write_atomically(folder / name, text.encode())
