"""Plots the user's pictures with the digits found in them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from mnist_lightning.figures.grids import displayable
from mnist_lightning.figures.mosaic import ImageBox, draw_mosaic
from mnist_lightning.figures.style import STYLE

MAX_NAME_LENGTH = 25
SIDE = 160  # of the network's input, in pixels
GAP = 14  # between a picture and the network's input
MARGIN = 0.4  # around a number, relative to its height


class PredictedPicture(NamedTuple):
    """A picture and the digits found in it."""

    name: str
    picture: np.ndarray
    """``(H, W, 3)`` in [0, 1]."""
    boxes: Sequence[tuple[float, float, float, float]]
    """Left, top, right and bottom of each digit, relative to the picture."""
    inputs: Tensor
    """The digits in the network's input format, ``(D, 1, h, w)`` in [0, 1]."""
    probabilities: Tensor
    """``(D, num_classes)``."""
    number: str
    """The text of all digits."""


@STYLE
def plot_pictures(
    pictures: Sequence[PredictedPicture],
    class_names: Sequence[str],
    unsure_below: float,
    title: str = "Predictions",
    columns: int = 3,
) -> Figure:
    """Plots single digits next to the network's input, and numbers with a box around each digit.

    Args:
        pictures: The pictures and their predictions.
        class_names: A name for each class.
        unsure_below: A digit is highlighted if its highest probability is below this value.
        title: Title of the figure.
        columns: Number of pictures per row.
    """
    drawn = [_draw_picture(picture, class_names, unsure_below) for picture in pictures]
    return draw_mosaic(
        np.stack([tile for tile, _ in drawn]),
        [_caption(picture, class_names) for picture in pictures],
        title,
        columns,
        legend=f"picture, network input, most likely classes; framed if below {unsure_below:.0%}",
        highlighted=[
            bool((picture.probabilities.amax(dim=1) < unsure_below).any()) for picture in pictures
        ],
        boxes=[boxes for _, boxes in drawn],
    )


def _caption(picture: PredictedPicture, class_names: Sequence[str]) -> str:
    name = picture.name
    if len(name) > MAX_NAME_LENGTH:
        name = f"…{name[1 - MAX_NAME_LENGTH :]}"
    if len(picture.boxes) > 1:
        lowest = float(picture.probabilities.amax(dim=1).min())
        return f"{name}\n{picture.number}   lowest: {lowest:.0%}"
    values, classes = picture.probabilities[0].topk(min(3, len(class_names)))
    guesses = zip(classes.tolist(), values.tolist(), strict=True)
    return f"{name}\n{'   '.join(f'{class_names[index]}: {value:.0%}' for index, value in guesses)}"


def _draw_picture(
    picture: PredictedPicture, class_names: Sequence[str], unsure_below: float
) -> tuple[np.ndarray, list[ImageBox]]:
    """Returns the image for a picture, ``(SIDE, 2 * SIDE + GAP, 3)``, and the boxes in it."""
    tile = np.ones((SIDE, 2 * SIDE + GAP, 3), np.float32)
    if len(picture.boxes) == 1:
        _paste(tile[:, :SIDE], picture.picture)
        tile[:, -SIDE:] = displayable(functional.interpolate(picture.inputs, (SIDE, SIDE)))[0]
        return tile, []
    height, width, _ = picture.picture.shape
    corners = np.asarray(picture.boxes) * (width, height, width, height)
    margin = MARGIN * (corners[:, 3] - corners[:, 1]).mean()
    left, top = np.maximum(corners[:, :2].min(axis=0) - margin, 0).astype(int)
    right, bottom = np.ceil(corners[:, 2:].max(axis=0) + margin).astype(int)
    x, y, scale = _paste(tile, picture.picture[top:bottom, left:right])
    corners = (corners - (left, top, left, top)) * scale + (x, y, x, y)
    values, labels = picture.probabilities.max(dim=1)
    return tile, [
        ImageBox((left, top, right, bottom), class_names[label], value < unsure_below)
        for (left, top, right, bottom), label, value in zip(
            corners.tolist(), labels.tolist(), values.tolist(), strict=True
        )
    ]


def _paste(area: np.ndarray, picture: np.ndarray) -> tuple[int, int, float]:
    """Pastes a picture into the centre of an area, as large as possible.

    Returns:
        Its position in the area and its enlargement.
    """
    scale = min(area.shape[0] / picture.shape[0], area.shape[1] / picture.shape[1])
    size = [max(1, round(scale * side)) for side in picture.shape[:2]]
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0).float()
    scaled = functional.interpolate(tensor, size, mode="area")[0].permute(1, 2, 0).numpy()
    y, x = ((length - side) // 2 for length, side in zip(area.shape, size, strict=False))
    area[y : y + size[0], x : x + size[1]] = scaled
    return x, y, scale
