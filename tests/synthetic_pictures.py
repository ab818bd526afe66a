"""Synthetic pictures of digits: different pens and papers, shadows, noise and file formats.

``python tests/synthetic_pictures.py FOLDER`` writes one picture of each kind, for the figure in the
README.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from mnist_lightning import MNISTDataModule

Array = np.ndarray
Kind = Callable[[Array, np.random.Generator], Image.Image]


def on_canvas(digit: Array, rng: np.random.Generator, light_on_dark: bool) -> Image.Image:
    """Returns a digit at a random position on textured and shaded paper, as a JPEG of quality 70.

    Args:
        digit: ``(28, 28)`` in [0, 1], ink light.
        rng: Chooses the sides (200 to 600 pixels), the digit's position and size (30 to 95 % of the
            shorter side), the colours of paper and ink, the texture, and a gradient of light.
        light_on_dark: Whether the ink is lighter than the paper.
    """
    height, width = rng.integers(200, 601, 2)
    ink = _place_on_sheet(digit, (height, width), rng.uniform(0.3, 0.95), rng)
    return photograph(ink, rng, light_on_dark)


def photograph(ink: Array, rng: np.random.Generator, light_on_dark: bool) -> Image.Image:
    """Returns ink on textured and shaded paper, as a JPEG of quality 70.

    Args:
        ink: ``(H, W)`` in [0, 1], 1 in a full stroke.
        rng: Chooses the colours of paper and ink, the texture, and a gradient of light.
        light_on_dark: Whether the ink is lighter than the paper.
    """
    height, width = ink.shape
    paper, pen = rng.uniform(0.75, 0.97), rng.uniform(0.02, 0.25)
    texture = np.zeros((height, width))
    for size in (1, 3, 12):
        grains = rng.standard_normal((height // size + 2, width // size + 2))
        texture += 0.02 * _resize(grains, (width + 8, height + 8))[:height, :width]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    across = (np.cos(angle) * x + np.sin(angle) * y) / 2**0.5
    shade = 1 - rng.uniform(0.2, 0.5) * (across + 1) / 2
    grey = (paper + texture) * (1 - ink) + pen * ink
    file = io.BytesIO()
    _to_image((1 - grey if light_on_dark else grey) * shade).save(file, "JPEG", quality=70)
    return Image.open(file)


def _resize(values: Array, size: tuple[int, int]) -> Array:
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def _place_on_sheet(
    digit: Array, shape: tuple[int, int], fraction: float, rng: np.random.Generator
) -> Array:
    side = int(fraction * min(shape))
    top, left = (rng.integers(0, length - side + 1) for length in shape)
    ink = np.zeros(shape)
    ink[top : top + side, left : left + side] = _resize(digit, (side, side))
    return ink.clip(0, 1)


def _to_image(values: Array) -> Image.Image:
    return Image.fromarray(np.rint(255 * values.clip(0, 1)).astype(np.uint8))


def _draw(
    digit: Array,
    rng: np.random.Generator,
    pen: object = (0.1, 0.1, 0.2),
    paper: object = (0.92, 0.92, 0.9),
    light: Array | float = 1.0,
    noise: float = 0.01,
    shape: tuple[int, int] = (300, 400),
    fraction: float = 0.6,
) -> Image.Image:
    ink = _place_on_sheet(digit, shape, fraction, rng)[..., None]
    picture = (np.asarray(paper) * (1 - ink) + np.asarray(pen) * ink) * light
    return _to_image(picture + noise * rng.standard_normal(picture.shape))


def _hard_shadow(digit: Array, rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:300, :400]
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-50, 50)
    edge = np.cos(angle) * (x - 200) + np.sin(angle) * (y - 150) + shift
    return _draw(digit, rng, light=1 - 0.4 / (1 + np.exp(-edge / 3))[..., None])


def _soft_shadow(digit: Array, rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:300, :400]
    squared_distance = (x - rng.uniform(0, 400)) ** 2 + (y - rng.uniform(0, 300)) ** 2
    return _draw(digit, rng, light=1 - 0.6 * np.exp(-squared_distance / (2 * 100**2))[..., None])


def _lamp_from_one_side(digit: Array, rng: np.random.Generator) -> Image.Image:
    return _draw(digit, rng, light=np.linspace(0.25, 1, 400)[None, :, None])


def _ruled_paper(digit: Array, rng: np.random.Generator) -> Image.Image:
    paper = np.full((300, 400, 3), 0.95)
    paper[::30] = paper[1::30] = (0.6, 0.7, 0.9)
    paper[:, ::30] = (0.75, 0.8, 0.95)
    return _draw(digit, rng, paper=paper)


def _dust(digit: Array, rng: np.random.Generator) -> Image.Image:
    paper = np.full((300, 400, 3), 0.95)
    for top, left in rng.integers(0, 295, (6, 2)):
        paper[top : top + 4, left : left + 4] = 0.1
    return _draw(digit, rng, paper=paper)


def _chalk(digit: Array, rng: np.random.Generator) -> Image.Image:
    chalk = rng.uniform(0.5, 0.95, (300, 400, 1))
    return _draw(digit, rng, pen=chalk, paper=(0.1, 0.25, 0.15), noise=0.03)


def _transparent(digit: Array, rng: np.random.Generator, pen: int) -> Image.Image:
    ink = _to_image(_place_on_sheet(digit, (300, 300), 0.7, rng))
    colours = rng.integers(0, 256, (300, 300, 3), np.uint8)  # invisible
    colours[np.asarray(ink) > 0] = pen
    picture = Image.fromarray(colours)
    picture.putalpha(ink)
    return picture


def _cropped(digit: Array, rng: np.random.Generator) -> Image.Image:
    rows, columns = (np.flatnonzero((digit > 0.3).any(axis)) for axis in (1, 0))
    crop = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _to_image(1 - np.pad(_resize(crop, (crop.shape[1] * 10, crop.shape[0] * 10)), 15))


def _rotated_by_exif(digit: Array, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: viewers rotate it by 90 degrees clockwise
    _draw(digit, rng).transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif)
    return Image.open(file)


def _16_bits(digit: Array, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(
        (40000 - 20000 * _place_on_sheet(digit, (300, 300), 0.7, rng)).astype("u2")
    )


KINDS: dict[str, Kind] = {
    "as in MNIST": lambda digit, _: _to_image(digit),
    "as in MNIST, inverted": lambda digit, _: _to_image(1 - digit),
    "on a canvas": lambda digit, rng: on_canvas(digit, rng, light_on_dark=False),
    "red pen": lambda digit, rng: _draw(digit, rng, pen=(0.85, 0.1, 0.1)),
    "yellow pen": lambda digit, rng: _draw(digit, rng, pen=(0.95, 0.9, 0.2)),
    "green on red": lambda digit, rng: _draw(
        digit, rng, pen=(0.2, 0.45, 0.2), paper=(0.7, 0.2, 0.2)
    ),
    "pencil": lambda digit, rng: _draw(digit, rng, pen=(0.65,) * 3, noise=0.03),
    "chalk": _chalk,
    "hard shadow": _hard_shadow,
    "soft shadow": _soft_shadow,
    "lamp from one side": _lamp_from_one_side,
    "ruled paper": _ruled_paper,
    "dust": _dust,
    "blurred": lambda digit, rng: _draw(digit, rng).filter(ImageFilter.GaussianBlur(4)),
    "small on a large sheet": lambda digit, rng: _draw(
        digit, rng, shape=(900, 1200), fraction=0.07
    ),
    "large": lambda digit, rng: _draw(digit, rng, shape=(2400, 1800), fraction=0.8),
    "cropped": _cropped,
    "black, transparent paper": lambda digit, rng: _transparent(digit, rng, 0),
    "white, transparent paper": lambda digit, rng: _transparent(digit, rng, 255),
    "two colours": lambda digit, rng: _draw(digit, rng).convert("1"),
    "palette": lambda digit, rng: _draw(digit, rng).convert("P"),
    "16 bits": _16_bits,
    "CMYK": lambda digit, rng: _draw(digit, rng).convert("CMYK"),
    "turned by EXIF": _rotated_by_exif,
}


def main() -> None:
    """Writes one picture of each kind into the folder named on the command line."""
    data = MNISTDataModule(source="sample")
    data.setup("test")
    images = data.test_set.images[30:, 0].numpy() / 255  # the tests use the first 30
    rng = np.random.default_rng(0)
    for (kind, create), digit in zip(KINDS.items(), images, strict=False):
        picture = create(digit, rng)
        picture = picture.convert("RGB") if picture.mode == "CMYK" else picture
        picture.save(Path(sys.argv[1]) / f"{kind}.png", exif=picture.getexif())


if __name__ == "__main__":
    main()
