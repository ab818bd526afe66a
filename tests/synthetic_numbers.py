"""Synthetic pictures of numbers, composed of single digits.

``python tests/synthetic_numbers.py FOLDER`` writes twelve pictures to look at.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from synthetic_pictures import Array, photograph

from mnist_lightning import MNISTDataModule


def draw_number(digits: Array, rng: np.random.Generator, touching: bool = False) -> Image.Image:
    """Draws digits from left to right on paper, as a JPEG of quality 70.

    Args:
        digits: ``(N, 28, 28)`` in [0, 1], ink light.
        rng: Chooses the sizes (up to a quarter around the mean), the gaps (8 to 60 % of the
            height), the baseline (rising or falling, and uneven), the slant, the paper and the
            light.
        touching: Whether two neighbours touch.
    """
    height, slant, rise = rng.integers(30, 90), rng.uniform(-0.25, 0.25), rng.uniform(-0.08, 0.08)
    space = height * rng.uniform(0.12, 0.6)
    touched = rng.integers(1, len(digits)) if touching else 0
    sheet = np.zeros((4 * height, 3 * height * len(digits)))
    x = 0
    for index, digit in enumerate(digits):
        size = int(height * rng.uniform(0.75, 1.25))
        ink = _slant(digit, size, slant + rng.uniform(-0.05, 0.05))
        y = int(2 * height + rise * x + rng.uniform(-0.12, 0.12) * height - size / 2)
        gap = max(2, int(space * rng.uniform(0.7, 1.3)))
        if index:
            x = _place_next_to(sheet, ink, y, 0 if index == touched else gap)
        area = sheet[y : y + ink.shape[0], x : x + ink.shape[1]]
        np.maximum(area, ink, out=area)
    rows, columns = (np.flatnonzero((sheet > 0).any(axis)) for axis in (1, 0))
    margins = (height * rng.uniform(0.2, 1.0, 4)).astype(int)
    ink = np.pad(
        sheet[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
        (margins[:2], margins[2:]),
    )
    return photograph(ink, rng, light_on_dark=bool(rng.random() < 0.3))


def _slant(digit: Array, size: int, slant: float) -> Array:
    """Returns a digit of a height in pixels, slanted by columns per row, cropped to its ink."""
    rows, columns = (np.flatnonzero((digit > 0.1).any(axis)) for axis in (1, 0))
    crop = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = size / max(crop.shape)
    width, height = (max(1, round(scale * side)) for side in crop.shape[::-1])
    resized = Image.fromarray(crop.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    margin = int(abs(slant) * height / 2) + 1
    padded = Image.fromarray(np.pad(np.asarray(resized), ((0, 0), (margin, margin))))
    matrix = (1, slant, -slant * height / 2, 0, 1, 0)
    ink = np.asarray(
        padded.transform(padded.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    ).clip(0, 1)
    used = np.flatnonzero((ink > 0.1).any(axis=0))
    return ink[:, used[0] : used[-1] + 1]


def _place_next_to(sheet: Array, ink: Array, top: int, gap: int) -> int:
    """Returns the leftmost column at which no ink on the sheet is closer than a gap."""
    edges = np.where(
        (sheet > 0.1).any(axis=1), sheet.shape[1] - (sheet > 0.1)[:, ::-1].argmax(1), 0
    )
    starts = (ink > 0.1).argmax(axis=1)
    columns = [
        edges[max(0, top + row - gap) : top + row + gap + 1].max() + gap - start
        for row, start in enumerate(starts)
        if ink[row].max() > 0.1
    ]
    return int(max(columns))


def main() -> None:
    """Writes twelve pictures, the last four with digits that touch."""
    data = MNISTDataModule(source="sample")
    data.setup("test")
    rng = np.random.default_rng(0)
    for index in range(12):
        chosen = rng.integers(len(data.test_set), size=rng.integers(2, 9))
        images = data.test_set.images[chosen, 0].numpy() / 255
        picture = draw_number(images, rng, touching=index >= 8)
        picture.save(Path(sys.argv[1]) / f"number_{index:02}.jpg")


if __name__ == "__main__":
    main()
