"""Sends figures to the run folder and to the loggers."""

import functools
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import (
    CometLogger,
    LitLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from mnist_lightning.figures.notebook import show_figures_of_cells, show_in_notebook
from mnist_lightning.figures.style import DPI, STYLE
from mnist_lightning.files import write_atomically
from mnist_lightning.runs.loggers import uses_epochs
from mnist_lightning.runs.tensorboard import write_summary

log = logging.getLogger(__name__)

Format = Literal["pdf", "png", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)
MAX_CHART_COLOURS = 4096  # a figure with more has photographs, for which 256 are too few


def publish(
    trainer: Trainer,
    draw: Callable[[], Figure],
    name: str,
    tag: str,
    epoch: int,
    dpi: int = DPI,
    formats: Sequence[Format] = ("png",),
) -> Figure | None:
    """Draws a figure, saves it in the run folder and sends it to the loggers.

    All processes must call this function, because they agree on the run folder; only the first one
    draws. Nothing is drawn in a dry run. If a file cannot be written, or a logger fails, a warning
    is logged, because a figure must not end a training.

    Args:
        trainer: Its ``log_dir`` is the run folder; each of its loggers that accepts images gets the
            figure.
        draw: Returns the figure.
        name: Name of the file, without suffix.
        tag: Name of the image in the loggers, in the group ``figures``.
        epoch: Number of completed epochs; the step of the image in the loggers, unless
            something is logged several times per epoch.
        dpi: Resolution in pixels per inch.
        formats: Formats of the files. Notebooks and loggers get a PNG image, LitLogger the first
            file.

    A notebook shows the figure, and updates it in place when it is drawn again.

    Returns:
        The figure, or None if nothing was drawn.
    """
    folder = trainer.log_dir  # a broadcast, so all processes must get here
    if is_dry_run(trainer) or not trainer.is_global_zero:
        return None
    figure = draw()
    figure.dpi = dpi
    png = render_png(figure)
    path = Path(folder or "", name)
    if folder is not None and "://" not in folder:  # a logger may write to remote storage
        for kind in formats:
            _write(path.with_name(f"{name}.{kind}"), figure, png)
    # Lightning counts steps from zero.
    step = epoch if uses_epochs(trainer) else max(0, trainer.global_step - 1)
    show_in_notebook(png, f"{id(trainer)} {tag}")
    for logger in trainer.loggers:
        try:
            _send(
                logger, figure, png, path.with_name(f"{name}.{formats[0]}"), f"figures/{tag}", step
            )
        except Exception as error:  # from the network, or from a library
            _warn_once(
                f"{type(logger).__name__} did not log the figure {name}: {error}; the run continues"
            )
    return figure


@STYLE
def _write(path: Path, figure: Figure, png: bytes) -> None:
    content = png
    if path.suffix != ".png":
        buffer = io.BytesIO()
        figure.savefig(buffer, format=path.suffix[1:])
        content = buffer.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        _warn_once(f"cannot write the figure {path} ({error.strerror}); the run continues")


@STYLE
def _send(logger: Logger, figure: Figure, png: bytes, path: Path, tag: str, step: int) -> None:
    """Sends a figure to a logger, if it accepts images.

    The group of the tag is the same for all figures, because TensorBoard shows only two groups
    expanded.
    """
    match logger:
        case TensorBoardLogger():
            # Not SummaryWriter.add_image, which would encode the pixels again.
            width, height = Image.open(io.BytesIO(png)).size
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=png
            )
            write_summary(logger, Summary(value=[Summary.Value(tag=tag, image=image)]), step)
        case WandbLogger():
            logger.log_image(tag, [Image.open(io.BytesIO(png))], step)
        case MLFlowLogger():
            logger.experiment.log_figure(logger.run_id, figure, f"{tag}/step_{step:04d}.png")
        case CometLogger():
            logger.experiment.log_figure(tag, figure, step=step)
        case LitLogger():
            logger.log_file(str(path))


@functools.cache
def _warn_once(message: str) -> None:
    log.warning(message)


def is_dry_run(trainer: Trainer) -> bool:
    """Returns whether this is a sanity check or a ``fast_dev_run``."""
    return trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False))


@STYLE
def render_png(figure: Figure) -> bytes:
    """Returns a figure as the content of a PNG file."""
    canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()  # type: ignore[no-untyped-call]
    size, pixels = canvas.get_width_height(), canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    image = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
    if image.getcolors(MAX_CHART_COLOURS):
        image = _reduce_colours(image)
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


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


show_figures_of_cells(render_png)
