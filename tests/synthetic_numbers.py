"""Synthetic pictures of numbers, composed of single digits.

``python tests/synthetic_numbers.py FOLDER`` writes twelve pictures to look at.
"""

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from synthetic_pictures import Array, photograph

from mnist_lightning import MNISTDataModule

Stroke = list[tuple[float, float]]


def draw_strokes(*strokes: Stroke, width: int = 12) -> Image.Image:
    """Draws lines through points in percent of 300 by 300 pixels."""
    picture = Image.new("L", (300, 300), 255)
    for stroke in strokes:
        ImageDraw.Draw(picture).line([(3 * x, 3 * y) for x, y in stroke], 0, width, "curve")
    return picture


def circle(start: float, stop: float) -> Stroke:
    """Returns points of an ellipse between two angles in degrees."""
    angles = [math.radians(angle) for angle in np.linspace(start, stop, 20)]
    return [(50 + 22 * math.cos(angle), 50 + 35 * math.sin(angle)) for angle in angles]


BELLY: Stroke = [(38, 46), (55, 45), (66, 58), (62, 78), (45, 86), (30, 80)]
DIGITS_IN_PARTS = {
    "5 with its bar apart": (draw_strokes([(38, 22), (37, 46), *BELLY], [(44, 15), (70, 14)]), "5"),
    "open 4": (draw_strokes([(35, 15), (30, 55), (56, 55)], [(64, 20), (60, 88)]), "4"),
    "dashed 0": (draw_strokes(*(circle(a, a + 35) for a in range(0, 360, 45))), "0"),
    "1 with a dot": (draw_strokes([(50, 35), (49, 88)], [(50, 18), (50, 22)]), "1"),
    "3 in two parts": (
        draw_strokes(
            [(22, 25), (44, 20), (64, 20), (74, 26), (76, 34), (68, 41), (46, 44)],
            [(22, 84), (42, 84), (62, 80), (74, 72), (76, 66)],
        ),
        "3",
    ),
    "3 in two parts, one of them close to the 4": (
        draw_strokes(
            [(6, 44), (4, 54), (27, 53)],
            [(22, 43), (20, 61)],
            [(37, 38), (46, 36), (56, 38), (55, 43), (45, 46)],
            [(30, 59), (46, 60), (62, 57)],
            [(68, 44), (77, 40), (82, 46), (67, 60), (88, 60)],
            width=7,
        ),
        "432",
    ),
}
"""Pictures and the numbers in them."""


def draw_thin_1_and_bold_2() -> Image.Image:
    """Draws a 1 with a 13th of the ink of the 2 next to it."""
    bold = draw_strokes([(60, 36), (74, 28), (82, 40), (62, 66), (88, 66)], width=20)
    thin = draw_strokes([(30, 36), (28, 68)], width=4)
    return ImageChops.darker(bold, thin)


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
