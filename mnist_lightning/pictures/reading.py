"""Finds picture files, decodes them and loads the digits that they show."""

from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageSequence, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from mnist_lightning.errors import DataError
from mnist_lightning.pictures.image_math import Array, resize, to_float_array
from mnist_lightning.pictures.normalize import MAX_SIDE, SIZE, UnreadablePictureError, to_digit

# Pillow decodes these itself; for others, such as EPS, it starts external programs.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "PPM", "JPEG2000")
MAX_PIXELS = 100_000_000  # of a picture: a small file can unpack to more than the memory
MAX_SHOWN = 30  # pictures in a figure
THUMBNAIL_SIDE = 120  # pixels

Picture = Image.Image | UnreadablePictureError


def find_pictures(names: Sequence[str]) -> list[Path]:
    """Finds picture files.

    Args:
        names: Files, folders (for the pictures directly in them) and patterns such as
            ``scans/*.png``.

    Returns:
        Each file once, in the order of the names.

    Raises:
        DataError: If a name matches nothing.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_file():
            files = [path]
        else:
            # Path.glob accepts no absolute patterns.
            matches = map(Path, glob(str(path), recursive=True))  # noqa: PTH207
            candidates = path.iterdir() if path.is_dir() else matches
            files = [file for file in sorted(candidates) if file.is_file() and _is_picture(file)]
        if not files:
            reason = "contains no pictures" if path.is_dir() else "is not a file"
            raise DataError(
                f"{name} {reason}; pass files, folders or patterns such as 'scans/*.png'"
            )
        found |= dict.fromkeys(files)
    return list(found)


def _is_picture(file: Path) -> bool:
    """Returns whether the suffix is that of a supported format."""
    return Image.registered_extensions().get(file.suffix.lower()) in FORMATS


def read_pictures(path: Path) -> Iterator[tuple[str, Picture]]:
    """Decodes each page of a scan and each frame of an animation.

    Args:
        path: A file in one of ``FORMATS``.

    Yields:
        The file's name, followed by ``#1``, ``#2`` and so on if there are several pictures; and
        the picture, or the reason why it cannot be read, which ends the iteration.
    """
    # A control character in a file name could otherwise rewrite the terminal.
    file_name = name = "".join(char if char.isprintable() else "?" for char in str(path))
    try:
        Image.init()  # registers all formats
        supported = [format for format in FORMATS if format in Image.OPEN]
        with Image.open(path, formats=supported) as file:
            # The further pictures in a phone's MPO file are previews of the first one.
            has_frames = file.format != "MPO" and getattr(file, "n_frames", 1) > 1
            for number, frame in enumerate(ImageSequence.Iterator(file), start=1):
                if has_frames:
                    name = f"{file_name}#{number}"
                if frame.width * frame.height > MAX_PIXELS:
                    raise UnreadablePictureError(f"has more than {MAX_PIXELS:,} pixels")
                yield name, frame.copy()
                if not has_frames:
                    return
    except UnreadablePictureError as error:
        yield name, error
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        yield name, UnreadablePictureError(f"is not a picture in a supported format ({formats})")
    except Exception as error:  # decoders raise almost anything on damaged files
        reason = getattr(error, "strerror", None) or "the file is damaged"
        yield name, UnreadablePictureError(f"cannot be read ({reason})")


class Digit(NamedTuple):
    """A digit, float32 ``(1, 28, 28)``, and the picture from which it was normalized."""

    image: Tensor
    picture: Image.Image


def read_digits(
    source: str | Path | Image.Image,
) -> Iterator[tuple[str, Digit | UnreadablePictureError]]:
    """Yields the name and the digit of each picture in a file, or the reason why there is none.

    Args:
        source: A file, or a picture that Pillow has opened.
    """
    pictures: Iterable[tuple[str, Picture]] = (
        [("the picture", source)]
        if isinstance(source, Image.Image)
        else read_pictures(Path(source))
    )
    for name, picture in pictures:
        result: Digit | UnreadablePictureError
        try:
            if isinstance(picture, UnreadablePictureError):
                raise picture
            result = Digit(to_digit(picture), picture)
        except UnreadablePictureError as error:
            result = error
        yield name, result


Source = str | Path | Image.Image


def load_digits(images: Source | Iterable[Source]) -> Tensor:
    """Loads pictures of one digit each and normalizes them to MNIST's format.

    Args:
        images: A file or a picture opened with Pillow, or several of them; only the first frame of
            a file is used.

    Returns:
        float32 of shape ``(N, 1, 28, 28)`` in [0, 1], ink light.

    Raises:
        UnreadablePictureError: If a picture cannot be read or shows no digit; the message names it.
    """
    if isinstance(images, Source):
        images = [images]
    digits = []
    for image in images:
        name, digit = next(read_digits(image))
        if isinstance(digit, UnreadablePictureError):
            raise UnreadablePictureError(f"{name} {digit}") from digit
        digits.append(digit.image)
    return _stack(digits)


class PictureDigits(Dataset[Tensor]):
    """The digits in picture files, which are read on access.

    An item holds the digits of one file as float32 ``(N, 1, 28, 28)``: one for each page or frame
    that shows a digit.

    Args:
        files: The picture files, one for each item.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self.results: dict[str, str | None] = {}
        """For each picture read so far, the reason why it shows no digit, or None if it does."""
        self.shown: list[tuple[str, Array, Tensor]] = []
        """Name, thumbnail and digit of the first ``MAX_SHOWN`` pictures that show a digit."""

    def __len__(self) -> int:
        return len(self.files)

    @override
    def __getitem__(self, index: int) -> Tensor:
        digits = []
        for name, digit in read_digits(self.files[index]):
            if isinstance(digit, UnreadablePictureError):
                self.results[name] = str(digit)
                continue
            self.results[name] = None
            digits.append(digit.image)
            if len(self.shown) < MAX_SHOWN:
                thumbnail = make_thumbnail(digit.picture, THUMBNAIL_SIDE)
                self.shown.append((name, thumbnail, digit.image))
        return _stack(digits)


def _stack(digits: list[Tensor]) -> Tensor:
    return torch.stack(digits) if digits else torch.zeros(0, 1, SIZE, SIZE)


def make_thumbnail(picture: Image.Image, side: int) -> Array:
    """Returns a picture as float32 ``(side, side, 3)`` in [0, 1], with grey for transparency."""
    pixels = to_float_array(picture, MAX_SIDE)
    if pixels.shape[-1] == 4:
        pixels = pixels[..., :3] + 0.8 * (1 - pixels[..., 3:])
    height, width, _ = pixels.shape
    longer_side = max(height, width)
    size = (max(1, width * side // longer_side), max(1, height * side // longer_side))
    square = np.ones((side, side, 3), np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = resize(pixels, size).clip(0, 1)
    return square
