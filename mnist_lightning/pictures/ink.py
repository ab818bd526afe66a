"""Separates the ink in a picture from the paper.

The page to draw on has the same functions in ``export/page/ink.js``.
"""

import numpy as np
from PIL import Image

from mnist_lightning.errors import DataError
from mnist_lightning.pictures.image_math import (
    Array,
    fit_within,
    local_sums,
    resize,
    robust_max,
    to_float_array,
)

# Sides in pixels.
MAX_SIDE = 1024  # larger pictures are reduced first
BACKGROUND_SIDE = 64  # of the copy to which the paper is fitted
COLOUR_SIDE = 24  # of the copy in which the paper's colour is counted

COLOUR_BANDWIDTH = 0.05  # distance at which a colour counts half as the same
OUTLIER_SCALE = 0.35  # of the largest distance from the paper: further pixels hardly count
MAX_PLANE_CHANGE = 1e-4  # of the fitted paper in the last step
SHADOW_THRESHOLD = 0.1  # of the largest distance from the paper
MAX_BORDER_FRACTION = 0.15  # of the border may differ from the paper without a shadow
MIN_CONTRAST = 0.03  # of ink; black on white has 1
MIN_SIGNAL_TO_NOISE = 4


class UnreadablePictureError(DataError):
    """A picture cannot be read or shows no digit; the message is the reason, without a name."""


def extract_ink(picture: Image.Image) -> Array:
    """Returns the amount of ink in each pixel, shape ``(H, W)``: 0 on paper, 1 in a full stroke.

    The ink may be darker or lighter than the paper, or of another colour; the paper may be uneven,
    shaded or transparent.

    Args:
        picture: A picture of any mode and size; larger ones are reduced to ``MAX_SIDE``.

    Raises:
        UnreadablePictureError: If no ink stands out from the paper.
    """
    pixels = to_float_array(picture, MAX_SIDE)
    return _measure_ink(pixels - _estimate_background(pixels))


def _estimate_background(pixels: Array) -> Array:
    """Estimates the paper without ink, as a smooth surface of the same shape."""
    height, width, _ = pixels.shape
    coarse = resize(pixels, fit_within(BACKGROUND_SIDE, width, height))
    colour = _mode_colour(resize(pixels, fit_within(COLOUR_SIDE, width, height)))
    surface = _fit_plane(coarse, colour)
    # A shadow usually reaches the border. Without one, weak strokes must not be taken for shadows.
    if _deviates_at_border(coarse - surface):
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
        previous, surface = surface, design @ coefficients
        if np.abs(surface - previous).max() < MAX_PLANE_CHANGE:
            break
    return surface.reshape(pixels.shape)


def _deviates_at_border(difference: Array) -> bool:
    """Returns whether more of the border differs from the paper than a few strokes would."""
    distance = np.linalg.norm(difference, axis=-1)
    border = np.concatenate([distance[[0, -1]].ravel(), distance[1:-1, [0, -1]].ravel()])
    deviates = border > SHADOW_THRESHOLD * robust_max(distance)
    return bool(deviates.mean() > MAX_BORDER_FRACTION)


def _estimate_shadows(difference: Array) -> Array:
    """Returns local means of the difference to the paper over pixels without ink."""
    distance = np.linalg.norm(difference, axis=-1, keepdims=True)
    is_paper = (distance <= robust_max(distance) / 2).astype(np.float64)
    return local_sums(difference * is_paper) / (local_sums(is_paper) + 1e-3)


def _measure_ink(difference: Array) -> Array:
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
