"""Normalizes digits to MNIST's format.

MNIST's authors scaled black-and-white scans of digits to fit a box of 20 by 20 pixels, with their
aspect ratio and anti-aliasing, and placed the centre of mass at the centre of 28 by 28 pixels
(LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist). Photographs, screenshots and drawings
need two steps before that: separating the ink from the paper, and finding the digits. They need one
after it, because the pens of drawing programs are often thinner than MNIST's pencils.

The page to draw on has the same functions in ``export/page/normalize.js``.
"""

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.pictures.image_math import Array, resize

SIZE = 28  # side of MNIST's images, in pixels
BOX_SIZES = (18, 20, 22)  # of the box that a digit fills
"""The network reads a digit in each of these sizes, and the probabilities are averaged."""
MNIST_SIZE = 1  # index of MNIST's own box size
INK_THRESHOLD = 0.3  # of a full stroke; lighter pixels are cropped
MIN_STROKE_WIDTH = 1.8  # in pixels; the strokes of seven in eight of MNIST's digits are wider


def normalize(ink: Array) -> Tensor:
    """Normalizes a digit to MNIST's format.

    Args:
        ink: The amount of ink in each pixel, shape ``(H, W)``, 1 in a full stroke.

    Returns:
        float32 of shape ``(3, 28, 28)`` in [0, 1]: the digit in each of ``BOX_SIZES``, ink light.
    """
    ink = _crop_to_ink(ink)
    digits = [_centre_by_mass(_scale_to_box(ink, box_size)) for box_size in BOX_SIZES]
    return torch.from_numpy(np.stack([_widen_thin_strokes(digit) for digit in digits]))


def _crop_to_ink(ink: Array) -> Array:
    """Crops to the bounding box of the strokes and clips to [0, 1]."""
    is_stroke = ink > INK_THRESHOLD * min(1, ink.max())
    rows, columns = (np.flatnonzero(is_stroke.any(axis)) for axis in (1, 0))
    crop: Array = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].clip(0, 1)
    return crop


def _scale_to_box(ink: Array, box_size: int) -> Array:
    """Scales the longer side to ``box_size`` and the lightest pixel to 1."""
    longer_side = max(ink.shape)
    height, width = (max(1, round(side * box_size / longer_side)) for side in ink.shape)
    scaled = resize(ink[..., None], (width, height))[..., 0]
    box: Array = (scaled / scaled.max()).clip(0, 1)  # a thin line covers no pixel completely
    return box


def _centre_by_mass(box: Array) -> Array:
    """Places the box on 28 by 28 pixels with its centre of mass at their centre."""
    height, width = box.shape
    mass = box / box.sum()
    # The centre of a symmetric digit lies between two pixels: 1e-4 breaks the tie, so that rounding
    # errors do not.
    top = round(SIZE / 2 - float(mass.sum(1) @ np.arange(height)) - 1e-4)
    left = round(SIZE / 2 - float(mass.sum(0) @ np.arange(width)) - 1e-4)
    top, left = min(max(top, 0), SIZE - height), min(max(left, 0), SIZE - width)
    digit = np.zeros((SIZE, SIZE), np.float32)
    digit[top : top + height, left : left + width] = box
    return digit


def _widen_thin_strokes(digit: Array) -> Array:
    """Widens the strokes of a digit to ``MIN_STROKE_WIDTH``, if they are thinner on average."""
    padded = np.pad(digit, 1)
    change_x, change_y = np.diff(padded, axis=1)[:-1], np.diff(padded, axis=0)[:, :-1]
    perimeter = np.hypot(change_x, change_y).sum()
    # A stroke of width w and length l has about the area w l and the perimeter 2 l.
    missing_width = max(0, MIN_STROKE_WIDTH - 2 * digit.sum() / perimeter)
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    widened = np.maximum.reduce([digit, *neighbours])  # by a pixel on each side
    result: Array = digit + missing_width / 2 * (widened - digit)
    return result
