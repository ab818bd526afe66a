"""Draws images with captions in rows and columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.image import PcolorImage
from matplotlib.patches import Rectangle

from mnist_lightning.figures.style import BLUE, VERMILION, WIDTH_INCHES, write_title

MIN_IMAGE_HEIGHT = 24  # smaller images are enlarged, so that margins are full pixels
MAX_FONT_SIZE = 10.0


class ImageBox(NamedTuple):
    """A labelled box in an image, in its pixels."""

    box: tuple[float, float, float, float]
    """Left, top, right and bottom."""
    label: str
    is_highlighted: bool


@dataclass(frozen=True)
class _Layout:
    """Where the cells of a mosaic are; all lengths in its pixels, y pointing down."""

    columns: int
    image_height: int
    image_width: int
    caption_height: int
    row_pitch: int
    column_pitch: int
    header_height: int
    """Height of the title and the legend, above y = 0."""
    width: int
    """Width of the figure."""
    height: int
    """Height of all rows, without the header."""
    pixel_inches: float

    def top_left(self, index: int) -> tuple[int, int]:
        """Returns row and column of the first pixel of an image."""
        row, column = divmod(index, self.columns)
        margin = (self.column_pitch - self.image_width) // 2
        return row * self.row_pitch + self.caption_height, column * self.column_pitch + margin


def draw_mosaic(
    images: np.ndarray,
    captions: Sequence[str],
    title: str,
    columns: int,
    legend: str = "",
    highlighted: Sequence[bool] = (),
    width_fraction: float = 1.0,
    boxes: Sequence[Sequence[ImageBox]] = (),
) -> Figure:
    """Draws images row by row, each in a frame and below its caption.

    Args:
        images: ``(N, H, W, 3)`` in [0, 1].
        captions: A text of one or more lines for each image.
        title: Title of the figure.
        columns: Number of images per row.
        legend: Explains the captions, in a line below the title.
        highlighted: Whether each image has a bold, coloured frame and caption; default: none has.
        width_fraction: Fraction of the figure's width that the images cover.
        boxes: Boxes to draw in each image; default: none.
    """
    highlighted = highlighted or [False] * len(images)
    enlargement = math.ceil(MIN_IMAGE_HEIGHT / images.shape[1])
    images = images.repeat(enlargement, axis=1).repeat(enlargement, axis=2)
    layout = _lay_out(images, captions, columns, bool(legend), width_fraction)
    pixel = layout.pixel_inches
    figure_height = layout.header_height + layout.height
    figure = Figure(figsize=(layout.width * pixel, figure_height * pixel))
    write_title(figure, title)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(
        xlim=(-0.5, layout.width - 0.5), ylim=(layout.height - 0.5, -layout.header_height - 0.5)
    )
    _draw_images(axes, images, layout)
    _draw_frames(axes, highlighted, layout)
    _write_captions(axes, captions, highlighted, layout)
    _draw_boxes(axes, boxes, layout)
    axes.text(layout.width / 2, -0.1 / pixel, legend, color="0.4", fontsize=9, ha="center")
    return figure


def _lay_out(
    images: np.ndarray,
    captions: Sequence[str],
    columns: int,
    has_legend: bool,
    width_fraction: float,
) -> _Layout:
    height, width = images.shape[1:3]
    column_pitch = round(1.15 * width)
    pixel_inches = WIDTH_INCHES * width_fraction / (columns * column_pitch)
    lines = max((caption.count("\n") + bool(caption) for caption in captions), default=0)
    caption_height = round((0.17 * lines + 0.06) / pixel_inches) if lines else round(0.1 * height)
    row_margin = max(round(0.05 * height), math.ceil(0.04 / pixel_inches))
    row_pitch = caption_height + height + row_margin
    return _Layout(
        columns=columns,
        image_height=height,
        image_width=width,
        caption_height=caption_height,
        row_pitch=row_pitch,
        column_pitch=column_pitch,
        header_height=round((0.54 if has_legend else 0.42) / pixel_inches),
        width=round(columns * column_pitch / width_fraction),
        height=max(1, math.ceil(len(images) / columns)) * row_pitch,
        pixel_inches=pixel_inches,
    )


def _draw_images(axes: Axes, images: np.ndarray, layout: _Layout) -> None:
    # All images in one artist: separate axes would take five times as long.
    mosaic = np.full((layout.height, layout.width, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = layout.top_left(index)
        bottom, right = top + layout.image_height, left + layout.image_width
        mosaic[top:bottom, left:right] = np.rint(255 * image)
    # imshow resamples in floating point, which takes ten times as long.
    edges = np.arange(layout.width + 1) - 0.5, np.arange(layout.height + 1) - 0.5
    artist = PcolorImage(axes, *edges, mosaic)
    # It has no extent, so that saving with bbox_inches="tight", as notebooks do, would fail.
    artist.set_in_layout(False)
    axes.add_image(artist)


def _draw_frames(axes: Axes, highlighted: Sequence[bool], layout: _Layout) -> None:
    frames = []
    for index in range(len(highlighted)):
        top, left = layout.top_left(index)
        frames.append(Rectangle((left - 0.5, top - 0.5), layout.image_width, layout.image_height))
    axes.add_collection(
        PatchCollection(
            frames,
            facecolors="none",
            edgecolors=[VERMILION if is_highlighted else "0.8" for is_highlighted in highlighted],
            linewidths=[3.0 if is_highlighted else 1.0 for is_highlighted in highlighted],
        )
    )


def _write_captions(
    axes: Axes, captions: Sequence[str], highlighted: Sequence[bool], layout: _Layout
) -> None:
    lines = [line for caption in captions for line in caption.split("\n")]
    max_characters = max(map(len, lines), default=0)
    width_per_height = 0.7 if any(highlighted) else 0.62  # of a character; bold is wider
    cell_points = 72 * layout.column_pitch * layout.pixel_inches
    size = min(MAX_FONT_SIZE, cell_points / (width_per_height * max(1, max_characters)))
    for index, (caption, is_highlighted) in enumerate(zip(captions, highlighted, strict=True)):
        top, left = layout.top_left(index)
        axes.text(
            left - 0.5,
            top - 0.5 - 0.05 / layout.pixel_inches,
            caption,
            fontsize=size,
            color=VERMILION if is_highlighted else "0.2",
            weight="bold" if is_highlighted else "normal",
        )


def _draw_boxes(axes: Axes, boxes: Sequence[Sequence[ImageBox]], layout: _Layout) -> None:
    for index, image_boxes in enumerate(boxes):
        top, left = layout.top_left(index)
        for (x0, y0, x1, y1), label, is_highlighted in image_boxes:
            colour = VERMILION if is_highlighted else BLUE
            x, y = left + x0 - 0.5, top + y0 - 0.5
            frame = Rectangle((x, y), x1 - x0, y1 - y0, fill=False, color=colour, linewidth=0.8)
            axes.add_patch(frame)
            y -= 0.02 / layout.pixel_inches
            axes.text(x, y, label, color=colour, fontsize=7, weight="bold")
