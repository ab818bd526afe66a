"""Reads pictures of digits from files."""

from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

import torch
from PIL import Image, ImageSequence, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from mnist_lightning.errors import DataError
from mnist_lightning.pictures.normalize import (
    SIZE,
    Array,
    UnreadablePictureError,
    thumbnail,
    to_digit,
)

# Others, such as EPS, are drawn by programs that Pillow starts.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "PPM", "JPEG2000")
MAX_PIXELS = 100_000_000  # of a picture: a small file can unpack to more than there is memory
MAX_SHOWN = 30  # pictures in a figure


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
                if frame.width * frame.height > MAX_PIXELS:
                    raise UnreadablePictureError(f"has more than {MAX_PIXELS:,} pixels")
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
        """Name, thumbnail and digit of the first ``MAX_SHOWN`` that show one."""

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
                if len(self.shown) < MAX_SHOWN:
                    self.shown.append((name, thumbnail(picture, 120), digits[-1]))
            except UnreadablePictureError as error:
                self.results[name] = str(error)
        return torch.cat(digits).unsqueeze(1)
