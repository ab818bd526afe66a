"""The digits in picture files as a dataset for ``Trainer.predict``."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from mnist_lightning.pictures.digits import Box, Lines, find_digits
from mnist_lightning.pictures.image_math import Array, fit_within, resize, to_float_array
from mnist_lightning.pictures.ink import MAX_SIDE, UnreadablePictureError
from mnist_lightning.pictures.normalize import SIZE
from mnist_lightning.pictures.reading import find_pictures, read_pictures

MAX_SHOWN = 30  # pictures in a figure
THUMBNAIL_SIDE = 400  # pixels


class ShownPicture(NamedTuple):
    """A picture for the figure, ``(H, W, 3)`` in [0, 1], and the digits of all readings."""

    thumbnail: Array
    inputs: Tensor
    """``(R, 3, 28, 28)``"""
    boxes: list[Box]


class PictureDigits(Dataset[Tensor]):
    """The digits in picture files, which are read on access.

    An item holds the digits of one file as float32 ``(N, 1, 28, 28)``: those of each page or frame,
    in all readings and sizes.

    Args:
        names: Files, folders and patterns, as in ``find_pictures``; each file is one item.

    Raises:
        DataError: If a name matches nothing.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.files = find_pictures(names)
        self.results: dict[str, Lines | UnreadablePictureError] = {}
        """The readings of each picture read so far, or the reason why it shows no digit."""
        self.shown: list[ShownPicture] = []
        """The first ``MAX_SHOWN`` pictures that show a digit."""

    def __len__(self) -> int:
        return len(self.files)

    @override
    def __getitem__(self, index: int) -> Tensor:
        digits = [torch.zeros(0, 1, SIZE, SIZE)]
        for name, picture in read_pictures(self.files[index]):
            try:
                if isinstance(picture, UnreadablePictureError):
                    raise picture
                inputs, lines = find_digits(picture)
            except UnreadablePictureError as error:
                self.results[name] = error
                continue
            self.results[name] = lines
            digits.append(inputs.flatten(0, 1).unsqueeze(1))
            if len(self.shown) < MAX_SHOWN:
                boxes = [box for line in lines for reading in line for box in reading.boxes]
                self.shown.append(ShownPicture(make_thumbnail(picture), inputs, boxes))
        return torch.cat(digits)


def make_thumbnail(picture: Image.Image) -> Array:
    """Returns a picture as float32 ``(H, W, 3)`` in [0, 1], with grey for transparency."""
    pixels = to_float_array(picture, MAX_SIDE)
    if pixels.shape[-1] == 4:
        pixels = pixels[..., :3] + 0.8 * (1 - pixels[..., 3:])
    height, width, _ = pixels.shape
    scaled = resize(pixels, fit_within(THUMBNAIL_SIDE, width, height)).clip(0, 1)
    return np.broadcast_to(scaled, (*scaled.shape[:2], 3))
