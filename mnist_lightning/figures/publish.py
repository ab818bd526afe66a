"""Sends figures to the run folder and to TensorBoard."""

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

MAX_CHART_COLOURS = 4096  # a figure with more has photographs, for which 256 are too few


def publish(trainer: Trainer, draw: Callable[[], Figure], name: str, tag: str, epoch: int) -> None:
    """Draws a figure, saves it in the run folder and sends it to TensorBoard.

    All processes must call this function, because they agree on the run folder; only the first one
    draws. Nothing is drawn in a dry run.

    Args:
        trainer: Its ``log_dir`` is the run folder; each of its TensorBoard loggers gets the figure.
        draw: Returns the figure.
        name: Name of the PNG file, without suffix.
        tag: Name of the image in TensorBoard, in the group ``figures``.
        epoch: Number of completed epochs; the step of the image in TensorBoard.
    """
    folder = trainer.log_dir  # a broadcast, so all processes must get here
    if is_dry_run(trainer) or not trainer.is_global_zero:
        return
    png, (width, height) = _render_png(draw)
    if folder is not None and "://" not in folder:  # a logger may write to remote storage
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_atomically(Path(folder) / f"{name}.png", png)
    # Not SummaryWriter.add_image, which would encode the pixels again.
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    # One group for all figures, because TensorBoard shows only two groups expanded.
    summary = Summary(value=[Summary.Value(tag=f"figures/{tag}", image=image)])
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            write_summary(logger, summary, epoch)


def is_dry_run(trainer: Trainer) -> bool:
    """Returns whether this is a sanity check or a ``fast_dev_run``."""
    return trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False))


@STYLE
def _render_png(draw: Callable[[], Figure]) -> tuple[bytes, tuple[int, int]]:
    """Returns the file content, and width and height in pixels."""
    canvas, buffer = FigureCanvasAgg(draw()), io.BytesIO()
    canvas.draw()  # type: ignore[no-untyped-call]
    size, pixels = canvas.get_width_height(), canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    image = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
    if image.getcolors(MAX_CHART_COLOURS):
        image = _reduce_colours(image)
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue(), size


def _reduce_colours(image: Image.Image) -> Image.Image:
    """Converts to a palette of 256 colours.

    The file is a third of the size, which saves time in TensorBoard's writer: it computes checksums
    byte by byte in Python.
    """
    image = image.quantize(method=Image.Quantize.FASTOCTREE)
    palette, paper = image.getpalette(), image.getpixel((0, 0))
    assert palette is not None
    assert isinstance(paper, int)
    # The quantizer averages all pale colours, so the background is no longer quite white.
    palette[3 * paper : 3 * paper + 3] = [255] * 3
    image.putpalette(palette)
    return image
