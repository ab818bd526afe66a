"""Pictures of digits as people take them: on paper, in shadow, with all kinds of pens.

``python tests/pictures.py FOLDER`` writes one of each kind, for the README's figure.
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


def on_canvas(digit: Array, random: np.random.Generator, light_on_dark: bool) -> Image.Image:
    """Returns a digit somewhere on textured and shaded paper, as a JPEG of quality 70.

    Args:
        digit: ``(28, 28)`` in [0, 1], ink light.
        random: Decides on 200 to 600 pixels for each side, where the digit is and how large (30 to
            95 % of the shorter side), on paper, ink, texture, and a shadow gradient across.
        light_on_dark: Whether the ink is lighter than the paper.
    """
    height, width = random.integers(200, 601, 2)
    ink = _placed(digit, (height, width), random.uniform(0.3, 0.95), random)
    paper, pen = random.uniform(0.75, 0.97), random.uniform(0.02, 0.25)
    texture = np.zeros((height, width))
    for size in (1, 3, 12):
        grains = random.standard_normal((height // size + 2, width // size + 2))
        texture += 0.02 * _scaled(grains, (width + 8, height + 8))[:height, :width]
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    across = (np.cos(angle) * x + np.sin(angle) * y) / 2**0.5
    shade = 1 - random.uniform(0.2, 0.5) * (across + 1) / 2
    grey = (paper + texture) * (1 - ink) + pen * ink
    file = io.BytesIO()
    _image((1 - grey if light_on_dark else grey) * shade).save(file, "JPEG", quality=70)
    return Image.open(file)


def _scaled(values: Array, size: tuple[int, int]) -> Array:
    picture = Image.fromarray(values.astype(np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def _placed(
    digit: Array, shape: tuple[int, int], part: float, random: np.random.Generator
) -> Array:
    side = int(part * min(shape))
    top, left = (random.integers(0, free - side + 1) for free in shape)
    ink = np.zeros(shape)
    ink[top : top + side, left : left + side] = _scaled(digit, (side, side))
    return ink.clip(0, 1)


def _image(values: Array) -> Image.Image:
    return Image.fromarray(np.rint(255 * values.clip(0, 1)).astype(np.uint8))


def _written(
    digit: Array,
    random: np.random.Generator,
    pen: object = (0.1, 0.1, 0.2),
    paper: object = (0.92, 0.92, 0.9),
    light: Array | float = 1.0,
    noise: float = 0.01,
    shape: tuple[int, int] = (300, 400),
    part: float = 0.6,
) -> Image.Image:
    ink = _placed(digit, shape, part, random)[..., None]
    picture = (np.asarray(paper) * (1 - ink) + np.asarray(pen) * ink) * light
    return _image(picture + noise * random.standard_normal(picture.shape))


def _hard_shadow(digit: Array, random: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:300, :400]
    angle, shift = random.uniform(0, 2 * np.pi), random.uniform(-50, 50)
    edge = np.cos(angle) * (x - 200) + np.sin(angle) * (y - 150) + shift
    return _written(digit, random, light=1 - 0.4 / (1 + np.exp(-edge / 3))[..., None])


def _soft_shadow(digit: Array, random: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[:300, :400]
    far = (x - random.uniform(0, 400)) ** 2 + (y - random.uniform(0, 300)) ** 2
    return _written(digit, random, light=1 - 0.6 * np.exp(-far / (2 * 100**2))[..., None])


def _lamp(digit: Array, random: np.random.Generator) -> Image.Image:
    return _written(digit, random, light=np.linspace(0.25, 1, 400)[None, :, None])


def _ruled(digit: Array, random: np.random.Generator) -> Image.Image:
    paper = np.full((300, 400, 3), 0.95)
    paper[::30] = paper[1::30] = (0.6, 0.7, 0.9)
    paper[:, ::30] = (0.75, 0.8, 0.95)
    return _written(digit, random, paper=paper)


def _dust(digit: Array, random: np.random.Generator) -> Image.Image:
    paper = np.full((300, 400, 3), 0.95)
    for top, left in random.integers(0, 295, (6, 2)):
        paper[top : top + 4, left : left + 4] = 0.1
    return _written(digit, random, paper=paper)


def _chalk(digit: Array, random: np.random.Generator) -> Image.Image:
    chalk = random.uniform(0.5, 0.95, (300, 400, 1))
    return _written(digit, random, pen=chalk, paper=(0.1, 0.25, 0.15), noise=0.03)


def _transparent(digit: Array, random: np.random.Generator, pen: int) -> Image.Image:
    ink = _image(_placed(digit, (300, 300), 0.7, random))
    colours = random.integers(0, 256, (300, 300, 3), np.uint8)  # that nobody sees
    colours[np.asarray(ink) > 0] = pen
    picture = Image.fromarray(colours)
    picture.putalpha(ink)
    return picture


def _tight(digit: Array, random: np.random.Generator) -> Image.Image:
    rows, columns = (np.flatnonzero((digit > 0.3).any(axis)) for axis in (1, 0))
    crop = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _image(1 - np.pad(_scaled(crop, (crop.shape[1] * 10, crop.shape[0] * 10)), 15))


def _on_its_side(digit: Array, random: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise to see it upright
    _written(digit, random).transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif)
    return Image.open(file)


def _sixteen_bits(digit: Array, random: np.random.Generator) -> Image.Image:
    return Image.fromarray((40000 - 20000 * _placed(digit, (300, 300), 0.7, random)).astype("u2"))


KINDS: dict[str, Kind] = {
    "as in MNIST": lambda digit, _: _image(digit),
    "as in MNIST, inverted": lambda digit, _: _image(1 - digit),
    "on a canvas": lambda digit, random: on_canvas(digit, random, light_on_dark=False),
    "red pen": lambda digit, random: _written(digit, random, pen=(0.85, 0.1, 0.1)),
    "yellow pen": lambda digit, random: _written(digit, random, pen=(0.95, 0.9, 0.2)),
    "green on red": lambda digit, random: _written(
        digit, random, pen=(0.2, 0.45, 0.2), paper=(0.7, 0.2, 0.2)
    ),
    "pencil": lambda digit, random: _written(digit, random, pen=(0.65,) * 3, noise=0.03),
    "chalk": _chalk,
    "hard shadow": _hard_shadow,
    "soft shadow": _soft_shadow,
    "lamp from one side": _lamp,
    "ruled paper": _ruled,
    "dust": _dust,
    "blurred": lambda digit, random: _written(digit, random).filter(ImageFilter.GaussianBlur(4)),
    "small on a large sheet": lambda digit, random: _written(
        digit, random, shape=(900, 1200), part=0.07
    ),
    "large": lambda digit, random: _written(digit, random, shape=(2400, 1800), part=0.8),
    "cropped": _tight,
    "black, transparent paper": lambda digit, random: _transparent(digit, random, 0),
    "white, transparent paper": lambda digit, random: _transparent(digit, random, 255),
    "two colours": lambda digit, random: _written(digit, random).convert("1"),
    "palette": lambda digit, random: _written(digit, random).convert("P"),
    "16 bits": _sixteen_bits,
    "CMYK": lambda digit, random: _written(digit, random).convert("CMYK"),
    "turned by EXIF": _on_its_side,
}


def main() -> None:
    """Writes a picture of each kind into a folder."""
    data = MNISTDataModule(source="sample")
    data.setup("test")
    images = data.test_set.images[30:, 0].numpy() / 255  # tests look at those before
    random = np.random.default_rng(0)
    for (kind, draw), digit in zip(KINDS.items(), images, strict=False):
        picture = draw(digit, random)
        picture = picture.convert("RGB") if picture.mode == "CMYK" else picture
        picture.save(Path(sys.argv[1]) / f"{kind}.png", exif=picture.getexif())


if __name__ == "__main__":
    main()
