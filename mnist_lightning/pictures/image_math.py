"""Image arithmetic on arrays, with as much of it as normalizing digits needs.

Images are arrays of shape ``(H, W, channels)``, masks and labels ``(H, W)``. The page to draw on
has the same functions in ``export/page/image_math.js``.
"""

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[Any]


def to_float_array(picture: Image.Image, max_side: int) -> Array:
    """Converts a picture to float32 in [0, 1], upright and with premultiplied alpha.

    Args:
        picture: A picture of any mode.
        max_side: Pictures with a longer side are reduced, in pixels.

    Returns:
        An array of shape ``(H, W, channels)`` with 1 (more than 8 bits), 3 (RGB) or 4 (RGBa)
        channels.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":  # more than 8 bits
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64), posinf=0, neginf=0)
        low, high = values.min(), values.max()
        picture = Image.fromarray(((values - low) / ((high - low) or 1)).astype(np.float32))
    else:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        if picture.mode == "RGBA":
            picture = picture.convert("RGBa")  # the colour of transparent pixels is arbitrary
    if max(picture.size) > max_side:
        picture = picture.reduce(ceil(max(picture.size) / max_side))
    pixels = np.asarray(picture, dtype=np.float32)
    return pixels[..., None] if pixels.ndim == 2 else pixels / 255


def fit_within(max_side: int, width: int, height: int) -> tuple[int, int]:
    """Returns width and height with the same aspect ratio, both at most ``max_side``."""
    scale = min(1, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize(image: Array, size: tuple[int, int]) -> Array:
    """Resizes a float32 image to ``(width, height)``: box means, or bilinear if it gets larger."""
    is_larger = size[0] > image.shape[1] or size[1] > image.shape[0]
    resampling = Image.Resampling.BILINEAR if is_larger else Image.Resampling.BOX
    channels = np.ascontiguousarray(image.transpose(2, 0, 1))
    resized = [
        np.asarray(Image.fromarray(channel).resize(size, resampling)) for channel in channels
    ]
    return np.stack(resized, axis=-1)


def resize_nearest(mask: Array, shape: tuple[int, ...]) -> Array:
    """Resizes a mask to a shape ``(H, W)`` by nearest neighbours."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def dilate(values: Array) -> Array:
    """Returns the maximum of the 3 by 3 neighbourhood of each value."""
    padded = np.pad(values, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    dilated: Array = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return dilated


def label_components(mask: Array) -> Array:
    """Labels the 8-connected components of a mask with positive numbers; 0 is around them."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        spread = dilate(labels) * mask  # the highest label in a component replaces the others
        spread = np.where(mask, spread.ravel()[spread - 1], 0)  # in jumps: the label at that label
        if (spread == labels).all():
            return labels
        labels = spread


def robust_max(values: Array) -> float:
    """Returns the mean of the highest 0.2 % of the values, so that no single pixel decides."""
    count = max(1, values.size // 500)
    return float(np.partition(values.ravel(), -count)[-count:].mean())


def local_sums(image: Array) -> Array:
    """Returns sums over windows of an eighth of the longer side, applied twice along each axis."""
    radius = max(image.shape) // 16
    for axis in (0, 0, 1, 1):
        padding = [(0, 0)] * image.ndim
        padding[axis] = (radius, radius)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(image, padding), 2 * radius + 1, axis
        )
        image = windows.sum(axis=-1)
    return image
