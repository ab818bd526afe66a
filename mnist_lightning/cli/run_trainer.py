"""The Trainer of the command line."""

from pathlib import Path
from typing import Literal

from lightning.pytorch import Trainer
from typing_extensions import override

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.errors import InvalidArgumentError
from mnist_lightning.export.html import to_html
from mnist_lightning.export.onnx import to_onnx
from mnist_lightning.files import write_atomically

Format = Literal["onnx", "html"]


class RunTrainer(Trainer):
    """Customize every aspect of training via flags."""  # as in the help of LightningCLI

    @property
    @override
    def log_dir(self) -> str:
        """The run folder, whatever the loggers are. Collective: every process must access it."""
        folder: str = self.strategy.broadcast(self.default_root_dir)
        return folder

    # LightningCLI derives the options of a subcommand from the Trainer's method of that name.
    def export(self, model: MNISTClassifier, format: Format, output: str, about: str = "") -> None:
        """Writes a trained network to a file for use without PyTorch.

        Args:
            model: The model, with its weights.
            format: ``onnx`` for many runtimes: images in, probabilities out; ``html`` for a page
                in any browser on which to draw digits.
            output: The file; an existing one is replaced.
            about: Description of the weights, for the file.

        Raises:
            InvalidArgumentError: If ``output`` is not a file.
        """
        path = Path(output)
        # Renaming a file onto a device or a pipe would replace it.
        if not path.name or (path.exists() and not path.is_file()):
            raise InvalidArgumentError("--output", output, "it must be a file")
        write_atomically(path, {"onnx": to_onnx, "html": to_html}[format](model, about))
