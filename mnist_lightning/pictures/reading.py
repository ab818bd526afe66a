"""Finds picture files and decodes them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import TypeAlias, TypeVar

from PIL import Image, ImageSequence, UnidentifiedImageError

from mnist_lightning.errors import DataError
from mnist_lightning.pictures.ink import UnreadablePictureError

# Pillow decodes these itself; for others, such as EPS, it starts external programs.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "PPM", "JPEG2000")
MAX_PIXELS = 100_000_000  # of a picture: a small file can unpack to more than the memory

Source = str | Path | Image.Image
Result = TypeVar("Result")
Picture: TypeAlias = Image.Image | UnreadablePictureError


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


def map_pictures(
    function: Callable[[Image.Image], Result], images: Source | Iterable[Source]
) -> list[Result]:
    """Applies a function to the first picture of each source.

    Args:
        function: Called with each picture.
        images: A file or a picture opened with Pillow, or several of them.

    Raises:
        UnreadablePictureError: If a file cannot be read, or the function raises it; the message
            names the picture.
    """
    results = []
    for image in [images] if isinstance(images, Source) else images:
        name, picture = (
            ("the picture", image)
            if isinstance(image, Image.Image)
            else next(read_pictures(Path(image)))
        )
        try:
            if isinstance(picture, UnreadablePictureError):
                raise picture
            results.append(function(picture))
        except UnreadablePictureError as error:
            raise UnreadablePictureError(f"{name} {error}") from error
    return results
