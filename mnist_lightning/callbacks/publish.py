"""Where a drawn figure goes."""

import io
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from mnist_lightning.files import write_atomically


def publish(trainer: Trainer, folder: str | None, figure: Figure, name: str, tag: str) -> None:
    """Renders ``figure`` once, into ``name``.png in the run folder and into TensorBoard's images.

    Args:
        trainer: Whose TensorBoard loggers show the figure, at the number of finished epochs.
        folder: The run folder, ``trainer.log_dir``; reading that involves all processes, this only
            the first.
        figure: The figure.
        name: Name of the file, without its suffix.
        tag: Name of the image in TensorBoard.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    if folder is not None:
        png = io.BytesIO()
        imsave(png, pixels, format="png")
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(folder) / f"{name}.png", png.getvalue())
    # The epoch is counted as finished only after the hooks in which figures are drawn.
    step = trainer.current_epoch + (trainer.state.fn == "fit")
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, pixels, step, dataformats="HWC")


def draws(trainer: Trainer) -> bool:
    """Returns whether this process is to draw: the first one, and only in a run that counts."""
    trial = trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False))
    return trainer.is_global_zero and not trial


def data_name(trainer: Trainer) -> str:
    """Returns what the data module says that its images are, else an empty string."""
    return str(getattr(getattr(trainer, "datamodule", None), "dataset_name", ""))
