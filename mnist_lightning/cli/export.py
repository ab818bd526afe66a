"""The command ``export``."""

from pathlib import Path

from mnist_lightning.cli.run_trainer import Format, RunTrainer
from mnist_lightning.cli.session import Session
from mnist_lightning.cli.summary import print_line, print_weights


def export(session: Session, format: Format, output: str) -> None:
    """Exports the network and prints which weights it contains."""
    assert isinstance(session.trainer, RunTrainer)
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
