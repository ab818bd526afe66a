"""Normalizes a picture of a digit to MNIST's format.

MNIST's authors scaled black-and-white scans of digits to fit a box of 20 by 20 pixels, with their
aspect ratio and anti-aliasing, and placed the centre of mass at the centre of 28 by 28 pixels
(LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist). Photographs, screenshots and drawings
need two steps before that: separating the ink from the paper, and removing specks.

The page to draw on has the same functions in ``export/page/preparation.js``.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mnist_lightning.errors import DataError
from mnist_lightning.pictures.image_math import (
    Array,
    dilate,
    fit_within,
    label_components,
    local_sums,
    resize,
    resize_nearest,
    robust_max,
    to_float_array,
)

# Sides in pixels.
SIZE = 28  # of MNIST's images
BOX_SIZE = 20  # of the box that the ink fills
MAX_SIDE = 1024  # larger pictures are reduced first
BACKGROUND_SIDE = 64  # of the copy to which the paper is fitted
COLOUR_SIDE = 24  # of the copy in which the paper's colour is counted
COMPONENT_SIDE = 128  # of the copy in which specks are found

COLOUR_BANDWIDTH = 0.05  # distance at which a colour counts half as the same
OUTLIER_SCALE = 0.35  # of the largest distance from the paper: further pixels hardly count
INK_THRESHOLD = 0.5  # of a full stroke
COMPONENT_THRESHOLD = 0.3  # lower, since thin strokes get lighter in a small copy
MAX_INK_RATIO = 25  # a component with less ink than a 25th of the largest one is a speck
MIN_CONTRAST = 0.03  # of ink; black on white has 1
MIN_SIGNAL_TO_NOISE = 4


class UnreadablePictureError(DataError):
    """A picture cannot be read or shows no digit; the message is the reason, without a name."""


def to_digit(picture: Image.Image) -> Tensor:
    """Normalizes a picture of one digit to MNIST's format.

    The ink may be darker or lighter than the paper, or of another colour; the paper may be uneven,
    shaded or transparent.

    Args:
        picture: A picture of any mode and size.

    Returns:
        float32 of shape ``(1, 28, 28)`` in [0, 1], ink light.

    Raises:
        UnreadablePictureError: If no ink stands out from the paper.
    """
    pixels = to_float_array(picture, MAX_SIDE)
    ink = _extract_ink(pixels - _estimate_background(pixels))
    ink = _crop_to_ink(_remove_specks(ink))
    return torch.from_numpy(_centre_by_mass(_scale_to_box(ink))).unsqueeze(0)


def _estimate_background(pixels: Array) -> Array:
    """Estimates the paper without ink, as a smooth surface of the same shape."""
    height, width, _ = pixels.shape
    coarse = resize(pixels, fit_within(BACKGROUND_SIDE, width, height))
    colour = _mode_colour(resize(pixels, fit_within(COLOUR_SIDE, width, height)))
    surface = _fit_plane(coarse, colour)
    for _ in range(2):
        surface = surface + _estimate_shadows(coarse - surface)
    return resize(surface.astype(np.float32), (width, height))


def _mode_colour(pixels: Array) -> Array:
    """Returns the colour around which most pixels lie."""
    colours = pixels.reshape(-1, pixels.shape[-1])
    squared_distances = ((colours[:, None] - colours) ** 2).sum(-1)
    density = (1 / (1 + squared_distances / COLOUR_BANDWIDTH**2)).sum(axis=1)
    mode: Array = colours[np.argmax(density)]
    return mode


def _fit_plane(pixels: Array, colour: Array) -> Array:
    """Fits a plane to each channel, robust to ink (Geman and McClure's weights).

    Args:
        pixels: Array of shape ``(H, W, channels)``.
        colour: The constant surface to start from, of shape ``(channels,)``.
    """
    height, width, channels = pixels.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    design = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
    values = pixels.reshape(-1, channels)
    surface = np.broadcast_to(colour, values.shape)
    for _ in range(16):
        distance = np.linalg.norm(values - surface, axis=1, keepdims=True)
        scale = OUTLIER_SCALE * robust_max(distance) + 1e-3
        weights = 1 / (1 + (distance / scale) ** 2) ** 2
        ridge = 1e-6 * weights.sum() * np.eye(3)  # makes pictures of a few pixels solvable
        coefficients = np.linalg.solve(
            design.T @ (weights * design) + ridge, design.T @ (weights * values)
        )
        surface = design @ coefficients
    return surface.reshape(pixels.shape)


def _estimate_shadows(difference: Array) -> Array:
    """Returns local means of the difference to the paper over pixels without ink."""
    distance = np.linalg.norm(difference, axis=-1, keepdims=True)
    is_paper = (distance <= robust_max(distance) / 2).astype(np.float64)
    return local_sums(difference * is_paper) / (local_sums(is_paper) + 1e-3)


def _extract_ink(difference: Array) -> Array:
    """Returns the amount of ink, 1 in a full stroke, from the difference to the paper.

    Raises:
        UnreadablePictureError: If the contrast is too low, or not above the noise of the paper.
    """
    distance = np.linalg.norm(difference, axis=-1)
    colour = difference[distance > robust_max(distance) / 2].sum(axis=0)
    ink: Array = difference @ (colour / (np.linalg.norm(colour) or 1))
    threshold = robust_max(ink) / 2
    contrast, paper = np.median(ink[ink >= threshold]), np.abs(ink[ink < threshold])
    noise = 1.5 * np.median(paper) if paper.size else 0.0  # about one standard deviation
    if contrast < max(MIN_CONTRAST, MIN_SIGNAL_TO_NOISE * noise):
        raise UnreadablePictureError("contains no ink that stands out from the paper")
    ink /= contrast
    return ink


def _remove_specks(ink: Array) -> Array:
    """Sets the ink of components that are much smaller than the largest one to 0.

    Raises:
        UnreadablePictureError: If no stroke remains.
    """
    height, width = ink.shape
    size = fit_within(COMPONENT_SIDE, width, height)
    coarse = resize(ink.clip(0, 1)[..., None], size)[..., 0]
    labels = label_components(coarse > COMPONENT_THRESHOLD)
    mass = np.bincount(labels.ravel(), coarse.ravel())
    mass[0] = 0
    is_digit = dilate((mass > mass.max() / MAX_INK_RATIO)[labels])
    ink = ink * resize_nearest(is_digit, ink.shape)
    if not (ink > INK_THRESHOLD).any():
        raise UnreadablePictureError("contains no ink except specks")
    return ink


def _crop_to_ink(ink: Array) -> Array:
    """Crops to the bounding box of the strokes and clips to [0, 1]."""
    rows, columns = (np.flatnonzero((ink > INK_THRESHOLD).any(axis)) for axis in (1, 0))
    crop: Array = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].clip(0, 1)
    return crop


def _scale_to_box(ink: Array) -> Array:
    """Scales the longer side to ``BOX_SIZE`` and the lightest pixel to 1."""
    longer_side = max(ink.shape)
    height, width = (max(1, round(side * BOX_SIZE / longer_side)) for side in ink.shape)
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
