"""Where a figure goes once it is drawn."""

import io
from collections.abc import Callable
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from mnist_lightning.figures.style import STYLE
from mnist_lightning.files import write_atomically
from mnist_lightning.runs.tensorboard import write_summary

MAX_COLOURS = 4096  # of a figure without photographs, which 256 colours still look like


def publish(trainer: Trainer, draw: Callable[[], Figure], name: str, tag: str, epoch: int) -> None:
    """Draws in the first process, into ``name``.png in the run folder and TensorBoard's images.

    To be called in every process, since they agree on the folder. Nothing is drawn in a trial.

    Args:
        trainer: Its ``log_dir`` is the run folder, its TensorBoard loggers show the figure.
        draw: Returns the figure.
        name: Name of the file, without its suffix.
        tag: Name of the image in TensorBoard, where all figures stand under ``figures``.
        epoch: Number of finished epochs, the image's step in TensorBoard.
    """
    folder = trainer.log_dir
    if is_dry_run(trainer) or not trainer.is_global_zero:
        return
    png, (width, height) = _render(draw)
    if folder is not None and "://" not in folder:  # else TensorBoard alone shows it
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(folder) / f"{name}.png", png)
    # SummaryWriter.add_image would encode the pixels once more.
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    # TensorBoard opens the first two groups only: with one for all figures they are all in sight.
    summary = Summary(value=[Summary.Value(tag=f"figures/{tag}", image=image)])
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            write_summary(logger, summary, epoch)


@STYLE
def _render(draw: Callable[[], Figure]) -> tuple[bytes, tuple[int, int]]:
    canvas, buffer = FigureCanvasAgg(draw()), io.BytesIO()
    canvas.draw()  # type: ignore[no-untyped-call]
    size, pixels = canvas.get_width_height(), canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    image = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
    if image.getcolors(MAX_COLOURS):
        # A third of the bytes; TensorBoard's writer sums up each of them in Python.
        image = image.quantize(method=Image.Quantize.FASTOCTREE)
        palette, paper = image.getpalette(), image.getpixel((0, 0))
        assert palette is not None
        assert isinstance(paper, int)
        palette[3 * paper : 3 * paper + 3] = [255] * 3  # which becomes the mean of all that is pale
        image.putpalette(palette)
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue(), size


def is_dry_run(trainer: Trainer) -> bool:
    """Returns whether nothing that is measured now counts."""
    return trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False))
