"""Any picture of a digit as MNIST would have normalised it.

MNIST's authors scaled two-coloured scans of digits, with their aspect ratio and anti-aliasing, into
a box of 20 by 20 pixels, and laid the centre of mass onto the centre of 28 by 28 pixels (LeCun,
Cortes and Burges, http://yann.lecun.com/exdb/mnist). Here the ink is told from the paper before.
"""

from collections.abc import Iterator, Sequence
from glob import glob
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from mnist_lightning.errors import DataError

Array = NDArray[Any]

# Others, such as EPS, are drawn by programs that Pillow starts.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "PPM", "JPEG2000")
MOST_PIXELS = 100_000_000  # of a picture: a small file can unpack to more than there is memory
SIZE, BOX = 28, 20  # sides of a digit, and of the box that its ink fills
WORKING, COARSE, TINY = 1024, 64, 24  # longest sides of copies for ink, paper, and its colour
MOST_SHOWN = 30  # pictures in a figure
FAINTEST = 0.03  # contrast of ink, of 1 between black and white


class UnreadablePictureError(DataError):
    """A picture that cannot be read or shows no digit; the message is why."""


def find_pictures(names: Sequence[str]) -> list[Path]:
    """Returns the picture files that are named, each once, in the order of the names.

    Args:
        names: Files, folders (the pictures directly in them) and patterns such as ``scans/*.png``.

    Raises:
        DataError: If a name stands for no file.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_file():
            files = [path]
        else:
            # Path.glob takes no absolute patterns.
            matches = map(Path, glob(str(path), recursive=True))  # noqa: PTH207
            inside = path.iterdir() if path.is_dir() else matches
            files = [file for file in sorted(inside) if file.is_file() and _has_suffix(file)]
        if not files:
            what = "is a folder without pictures" if path.is_dir() else "is no file"
            raise DataError(f"{name} {what}; name files, folders or patterns such as 'scans/*.png'")
        found |= dict.fromkeys(files)
    return list(found)


def _has_suffix(file: Path) -> bool:
    return Image.registered_extensions().get(file.suffix.lower()) in FORMATS


def read_pictures(path: Path) -> Iterator[tuple[str, Image.Image | UnreadablePictureError]]:
    """Yields each picture of a file: pages of a scan and an animation are several.

    Args:
        path: A file in one of ``FORMATS``.

    Yields:
        The file's name, with ``#1`` and so on where there are several; and the picture, or why it
        cannot be read.
    """
    file_name = name = "".join(sign if sign.isprintable() else "?" for sign in str(path))
    try:
        Image.init()  # else it does not know them all
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
            # Behind a photograph there may be a small copy of it.
            several = file.format != "MPO" and getattr(file, "n_frames", 1) > 1
            for number, frame in enumerate(ImageSequence.Iterator(file), start=1):
                if several:
                    name = f"{file_name}#{number}"
                if frame.width * frame.height > MOST_PIXELS:
                    raise UnreadablePictureError(f"has more than {MOST_PIXELS:,} pixels")
                yield name, frame.copy()
                if not several:
                    return
    except UnreadablePictureError as error:
        yield name, error
    except UnidentifiedImageError:
        yield name, UnreadablePictureError(f"is none of {', '.join(FORMATS)}")
    except Exception as error:  # whatever a decoder stumbles over in foreign bytes
        reason = getattr(error, "strerror", None) or "damaged"
        yield name, UnreadablePictureError(f"cannot be read ({reason})")


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


class PictureDigits(Dataset[Tensor]):
    """The digits in picture files, each read when it is asked for.

    Args:
        files: One for each item, which is float32 ``(N, 1, 28, 28)``: a picture for each page or
            frame of the file that shows a digit.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.results: dict[str, str | None] = {}
        """For each picture that was read why it shows no digit, or None if it does."""
        self.shown: list[tuple[str, Array, Tensor]] = []
        """Name, thumbnail and digit of the first ``MOST_SHOWN`` that show one."""

    def __len__(self) -> int:
        return len(self.files)

    @override
    def __getitem__(self, index: int) -> Tensor:
        digits = [torch.zeros(0, SIZE, SIZE)]
        for name, picture in read_pictures(self.files[index]):
            self.results[name] = None
            try:
                if isinstance(picture, UnreadablePictureError):
                    raise picture
                digits.append(to_digit(picture))
                if len(self.shown) < MOST_SHOWN:
                    self.shown.append((name, thumbnail(picture, 120), digits[-1]))
            except UnreadablePictureError as error:
                self.results[name] = str(error)
        return torch.cat(digits).unsqueeze(1)


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
