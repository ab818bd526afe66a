"""Any picture of a digit as MNIST would have normalised it.

MNIST's authors scaled two-coloured scans of digits, with their aspect ratio and anti-aliasing, into
a box of 20 by 20 pixels, and laid the centre of mass onto the centre of 28 by 28 pixels (LeCun,
Cortes and Burges, http://yann.lecun.com/exdb/mnist). Here the ink is told from the paper before.
"""

from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from mnist_lightning.errors import DataError

Array = NDArray[Any]

SIZE, BOX = 28, 20  # sides of a digit, and of the box that its ink fills
WORKING, COARSE, TINY = 1024, 64, 24  # longest sides of copies for ink, paper, and its colour
FAINTEST = 0.03  # contrast of ink, of 1 between black and white


class UnreadablePictureError(DataError):
    """A picture that cannot be read or shows no digit; the message is why."""


def to_digit(picture: Image.Image) -> Tensor:
    """Returns a picture of one digit as MNIST would show it.

    Ink may be darker or lighter than the paper, or of another colour, the paper uneven, shaded or
    transparent.

    Args:
        picture: Of any mode and size.

    Returns:
        float32 of shape ``(1, 28, 28)`` in [0, 1], ink light.

    Raises:
        UnreadablePictureError: If no ink stands out from the paper.
    """
    pixels = _pixels(picture)
    ink = _without_specks(_ink(pixels - _paper(pixels)))
    rows, columns = (np.flatnonzero((ink > 0.5).any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].clip(0, 1)
    longest = max(ink.shape)
    height, width = (max(1, round(side * BOX / longest)) for side in ink.shape)
    small = _resize(ink[..., None], (width, height))[..., 0]
    small = (small / small.max()).clip(0, 1)  # a thin line covers no pixel whole
    mass = small / small.sum()
    # What is symmetric lies between two pixels: it goes to the same one however sums are rounded.
    top = round(SIZE / 2 - float(mass.sum(1) @ np.arange(height)) - 1e-4)
    left = round(SIZE / 2 - float(mass.sum(0) @ np.arange(width)) - 1e-4)
    top, left = min(max(top, 0), SIZE - height), min(max(left, 0), SIZE - width)
    digit = torch.zeros(1, SIZE, SIZE)
    digit[0, top : top + height, left : left + width] = torch.from_numpy(small)
    return digit


def thumbnail(picture: Image.Image, side: int) -> Array:
    """Returns a picture as float32 ``(side, side, 3)`` in [0, 1], what is transparent in grey."""
    pixels = _pixels(picture)
    if pixels.shape[-1] == 4:
        pixels = pixels[..., :3] + 0.8 * (1 - pixels[..., 3:])
    height, width, _ = pixels.shape
    longest = max(height, width)
    size = (max(1, width * side // longest), max(1, height * side // longest))
    pixels = _resize(pixels, size).clip(0, 1)
    square = np.ones((side, side, 3), np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = pixels
    return square


def _pixels(picture: Image.Image) -> Array:
    """Returns ``(H, W, channels)`` in [0, 1], upright, no side longer than ``WORKING``."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":  # 16 bits and more
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0, neginf=0)
        low, high = values.min(), values.max()
        picture = Image.fromarray(((values - low) / ((high - low) or 1)).astype(np.float32))
    else:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        if picture.mode == "RGBA":
            picture = picture.convert("RGBa")  # what is transparent has no colour
    if max(picture.size) > WORKING:
        picture = picture.reduce(ceil(max(picture.size) / WORKING))
    pixels = np.asarray(picture, dtype=np.float32)
    return pixels[..., None] if pixels.ndim == 2 else pixels / 255


def _paper(pixels: Array) -> Array:
    """Returns the paper without ink: a smooth surface ``(H, W, channels)``."""
    height, width, channels = pixels.shape
    size = _at_most(COARSE, width, height)
    coarse = _resize(pixels, size)
    values = coarse.reshape(-1, channels)
    surface = np.broadcast_to(
        _commonest(_resize(pixels, _at_most(TINY, width, height))), values.shape
    )
    # A plane through what is near to it (Geman and McClure's robust fit): a shadow is, ink is not.
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in coarse.shape[:2]), indexing="ij")
    plane = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
    for _ in range(16):
        far = np.linalg.norm(values - surface, axis=1, keepdims=True)
        near = 1 / (1 + (far / (0.35 * _highest(far) + 1e-3)) ** 2) ** 2
        slack = 1e-6 * near.sum() * np.eye(3)  # for pictures of a few pixels
        surface = plane @ np.linalg.solve(
            plane.T @ (near * plane) + slack, plane.T @ (near * values)
        )
    # What is left of shadows: local means of what is no ink.
    surface = surface.reshape(coarse.shape)
    for _ in range(2):
        rest = coarse - surface
        far = np.linalg.norm(rest, axis=-1, keepdims=True)
        plain = (far <= _highest(far) / 2).astype(np.float64)
        surface = surface + _blur(rest * plain) / (_blur(plain) + 1e-3)
    return _resize(surface.astype(np.float32), (width, height))


def _commonest(pixels: Array) -> Array:
    """Returns the colour that most pixels have about."""
    colours = pixels.reshape(-1, pixels.shape[-1])
    squares = ((colours[:, None] - colours) ** 2).sum(-1)
    most: Array = colours[np.argmax((1 / (1 + squares / 0.05**2)).sum(axis=1))]
    return most


def _ink(rest: Array) -> Array:
    """Returns how much ink is where, 1 in the middle of a stroke, from what is not paper."""
    far = np.linalg.norm(rest, axis=-1)
    colour = rest[far > _highest(far) / 2].sum(axis=0)
    ink: Array = rest @ (colour / (np.linalg.norm(colour) or 1))
    half = _highest(ink) / 2
    full, plain = np.median(ink[ink >= half]), np.abs(ink[ink < half])
    grain = 1.5 * np.median(plain) if plain.size else 0.0  # about a standard deviation
    if full < max(FAINTEST, 4 * grain):
        raise UnreadablePictureError("shows no ink that stands out from the paper")
    ink /= full
    return ink


def _without_specks(ink: Array) -> Array:
    """Returns the ink without what is not connected to it and has less than a 25th of it."""
    height, width = ink.shape
    coarse = _resize(ink.clip(0, 1)[..., None], _at_most(2 * COARSE, width, height))[..., 0]
    covered = coarse > 0.3
    parts = np.where(covered, np.arange(1, covered.size + 1).reshape(covered.shape), 0)
    while True:
        grown = _spread(parts) * covered  # each part takes the highest number in it
        if (grown == parts).all():
            break
        parts = grown
    mass = np.bincount(parts.ravel(), coarse.ravel())
    mass[0] = 0
    kept = _spread((mass > mass.max() / 25)[parts])
    rows, columns = (
        ((np.arange(side) + 0.5) * few / side).astype(np.int64)
        for side, few in zip(ink.shape, kept.shape, strict=True)
    )
    kept = kept[np.ix_(rows, columns)]
    if not (ink * kept > 0.5).any():
        raise UnreadablePictureError("shows no ink but specks")
    kept_ink: Array = ink * kept
    return kept_ink


def _spread(values: Array) -> Array:
    """Returns the highest of the nine values around each."""
    padded = np.pad(values, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    highest: Array = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return highest


def _highest(values: Array) -> float:
    """Returns the mean of the highest two in a thousand: a maximum that one pixel cannot make."""
    count = max(1, values.size // 500)
    return float(np.partition(values.ravel(), -count)[-count:].mean())


def _blur(values: Array) -> Array:
    """Returns local sums over an eighth of the longer side, twice along each axis."""
    reach = max(values.shape) // 16
    for axis in (0, 0, 1, 1):
        padding = [(0, 0)] * values.ndim
        padding[axis] = (reach, reach)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(values, padding), 2 * reach + 1, axis
        )
        values = windows.sum(axis=-1)
    return values


def _at_most(longest: int, width: int, height: int) -> tuple[int, int]:
    """Returns width and height with the same ratio, neither longer than that."""
    scale = min(1, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resize(values: Array, size: tuple[int, int]) -> Array:
    """Returns ``(H, W, channels)`` with another width and height: area means, or interpolated."""
    larger = size[0] > values.shape[1] or size[1] > values.shape[0]
    how = Image.Resampling.BILINEAR if larger else Image.Resampling.BOX
    layers = np.ascontiguousarray(values.transpose(2, 0, 1))
    resized = [np.asarray(Image.fromarray(layer).resize(size, how)) for layer in layers]
    return np.stack(resized, axis=-1)
