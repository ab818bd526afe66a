"""Pictures of digits are normalized to MNIST's format."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from synthetic_pictures import KINDS, on_canvas
from torch import Tensor

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.pictures.digits import find_single_digit
from mnist_lightning.pictures.ink import UnreadablePictureError
from mnist_lightning.pictures.normalize import BOX_SIZES, MNIST_SIZE


def to_digit(picture: Image.Image) -> Tensor:
    """Returns a picture in MNIST's format, ``(1, 28, 28)``."""
    return find_single_digit(picture)[MNIST_SIZE].unsqueeze(0)


@pytest.fixture(scope="module")
def model() -> MNISTClassifier:
    return MNISTClassifier.from_pretrained()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_reads_digits_in_all_kinds_of_pictures(
    kind: str, model: MNISTClassifier, sample: MNISTDataModule
) -> None:
    images, labels = sample.test_set.images[:30, 0].numpy() / 255, sample.test_set.labels[:30]
    rng = np.random.default_rng(0)
    pictures = [KINDS[kind](image, rng) for image in images]
    assert model.predict_images(pictures).argmax(dim=1).tolist() == labels.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("light_on_dark", [False, True])
def test_restores_mnist_digits_from_a_canvas(light_on_dark: bool, sample: MNISTDataModule) -> None:
    rng = np.random.default_rng(1)
    images = sample.test_set.images[:40].float().div(255)
    digits = torch.stack([to_digit(on_canvas(i[0].numpy(), rng, light_on_dark)) for i in images])
    assert digits.shape == images.shape
    assert digits.dtype == torch.float32
    assert (float(digits.min()), float(digits.max())) == (0, 1)
    # A tenth of an MNIST image is ink; shifting it by one pixel changes it by 0.07 per pixel.
    assert float((digits - images).abs().mean()) < 0.03
    assert math.isclose(float(digits.mean()), float(images.mean()), rel_tol=0.05)
    for digit in digits[:, 0]:
        ink = digit > 0.2  # thin strokes are widened by less than that
        rows, columns = ink.any(1).nonzero(), ink.any(0).nonzero()
        assert max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1 == 20
        rows, columns = digit.amax(1).nonzero(), digit.amax(0).nonzero()
        assert max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1 <= 22
        positions = torch.arange(28.0)
        for marginal in (digit.sum(1), digit.sum(0)):
            assert abs(float(marginal @ positions / digit.sum()) - 14) <= 0.5001


def test_weak_strokes_are_not_taken_for_shadows() -> None:
    picture = Image.new("L", (28, 28), 255)
    draw = ImageDraw.Draw(picture)
    draw.line([(8, 5), (19, 5), (19, 13)], 150, width=3)  # as a pen that is pressed lightly
    draw.line([(19, 13), (9, 22), (20, 22)], 0, width=3)
    weak, strong = (to_digit(picture)[0][rows].amax(dim=1).min() for rows in (slice(4, 9), [20]))
    assert strong == 1
    assert 0.35 < weak < 0.6


def test_shadows_are_not_ink() -> None:
    light = 250 - 90 / (1 + np.exp((150 - np.arange(300)) / 10))  # the right half is in shadow
    pixels = np.tile(light, (300, 1))
    pixels[60:240, 65:85] -= 150
    digit = to_digit(Image.fromarray(pixels.astype(np.uint8)))
    assert int((digit[0] > 0.2).any(dim=0).sum()) <= 3


def test_normalizes_to_three_sizes() -> None:
    picture = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(picture).rectangle((40, 20, 59, 79), fill=0)
    digits = find_single_digit(picture)
    assert digits.shape == (3, 28, 28)
    heights = [int((digit > 0.5).any(dim=1).sum()) for digit in digits]
    assert heights == list(BOX_SIZES) == [18, 20, 22]


def test_keeps_the_aspect_ratio() -> None:
    picture = Image.new("L", (300, 200), 255)
    ImageDraw.Draw(picture).rectangle((50, 60, 249, 109), fill=0)  # 200 by 50
    ink = to_digit(picture)[0] > 0.5
    assert (int(ink.any(0).sum()), int(ink.any(1).sum())) == (20, 5)


def test_thin_lines_are_as_light_as_thick_ones() -> None:
    picture = Image.new("L", (600, 600), 255)
    ImageDraw.Draw(picture).ellipse((150, 50, 450, 550), outline=0, width=4)
    assert to_digit(picture).max() == 1


@pytest.mark.parametrize(("pen", "expected"), [(4, 1.8), (25, 1.8), (60, 3.0)])
def test_thin_strokes_are_widened(pen: int, expected: float) -> None:
    picture = Image.new("L", (600, 600), 255)
    ImageDraw.Draw(picture).line([(200, 100), (200, 500), (400, 500)], 0, width=pen)
    digit = to_digit(picture)[0]
    rows = digit[8:14]  # of the vertical stroke
    assert abs(float((rows.sum(dim=1) / rows.amax(dim=1)).mean()) - expected) < 0.25


def test_no_ink_is_cut_off_when_the_centre_of_mass_is_far_from_the_middle() -> None:
    for angle in (0, 90, 180, 270):
        picture = Image.new("L", (600, 600), 255)
        ImageDraw.Draw(picture).rectangle((200, 20, 320, 140), fill=0)
        ImageDraw.Draw(picture).line((260, 140, 260, 560), fill=0, width=20)
        ink = to_digit(picture.rotate(angle))[0] > 0.2
        assert max(int(ink.any(0).sum()), int(ink.any(1).sum())) == 20


@pytest.mark.parametrize(
    "picture",
    [
        *(Image.new("RGB", (side, side), "white") for side in (1, 2, 3)),
        Image.new("L", (1, 1)),
        Image.new("RGB", (300, 200), "ivory"),
        Image.new("RGBA", (30, 30), (0, 0, 0, 0)),
        Image.new("1", (7, 1)),
        Image.new("I;16", (40, 40), 1000),
        Image.fromarray(np.full((20, 20), np.nan, np.float32)),
        Image.fromarray(np.random.default_rng(0).integers(200, 230, (300, 300), np.uint8)),
        Image.fromarray(np.linspace(50, 250, 90000).reshape(300, 300).astype(np.uint8)),
    ],
)
def test_rejects_pictures_without_ink(picture: Image.Image) -> None:
    with pytest.raises(UnreadablePictureError, match="no ink"):
        find_single_digit(picture)


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (3, 3), (1, 3000), (3000, 1), (28, 28)])
def test_any_size_gives_a_digit_or_an_error(size: tuple[int, int]) -> None:
    picture = Image.new("L", size, 255)
    picture.putpixel((0, 0), 0)
    try:
        assert to_digit(picture).shape == (1, 28, 28)
    except UnreadablePictureError:
        assert max(size) != 28  # a dark pixel on 28 by 28 is ink
