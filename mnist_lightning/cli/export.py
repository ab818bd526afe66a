"""The command ``export``."""

from pathlib import Path
from typing import Literal

from lightning.pytorch import Trainer

from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import print_line, print_weights
from mnist_lightning.errors import InvalidArgumentError
from mnist_lightning.export.html import to_html
from mnist_lightning.export.onnx import to_onnx
from mnist_lightning.files import write_atomically

Format = Literal["onnx", "html"]


class ExportingTrainer(Trainer):
    """Customize every aspect of training via flags."""  # as in the help of LightningCLI

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


def export(session: Session, format: Format, output: str) -> None:
    """Exports the network and prints which weights it contains."""
    assert isinstance(session.trainer, ExportingTrainer)
    assert session.weights is not None
    source = "The pretrained weights"
    if not session.weights.is_pretrained:
        source = (
            f"Weights of {'/'.join(session.weights.path.parts[-3:])}"  # without private folders
        )
    about = f"{source}, epoch {session.epochs}."
    session.trainer.export(session.model, format, output, about)
    print_weights(session)
    print_line(f"Written:     {output} ({Path(output).stat().st_size / 1000:.0f} kB)")
