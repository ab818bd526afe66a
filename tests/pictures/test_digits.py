"""The digits of a number are found and read in order."""

import string
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from synthetic_numbers import DIGITS_IN_PARTS, draw_number, draw_thin_1_and_bold_2

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.pictures import UNSURE_BELOW
from mnist_lightning.pictures.digits import Reading, average_sizes, choose_digits, find_digits
from mnist_lightning.pictures.image_math import label_components
from mnist_lightning.pictures.ink import UnreadablePictureError

FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
BOX = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def model() -> MNISTClassifier:
    return MNISTClassifier.from_pretrained()


def draw_numbers(
    sample: MNISTDataModule, count: int, seed: int, touching: bool = False
) -> tuple[list[Image.Image], list[str]]:
    """Draws random numbers of two to eight digits of the sample."""
    rng = np.random.default_rng(seed)
    pictures, numbers = [], []
    for _ in range(count):
        chosen = rng.integers(len(sample.test_set), size=rng.integers(2, 9))
        digits = sample.test_set.images[chosen, 0].numpy() / 255
        pictures.append(draw_number(digits, rng, touching))
        numbers.append("".join(map(str, sample.test_set.labels[chosen].tolist())))
    return pictures, numbers


def test_reads_numbers(model: MNISTClassifier, sample: MNISTDataModule) -> None:
    pictures, numbers = draw_numbers(sample, 40, seed=0)
    found = model.predict_numbers(pictures)
    assert sum(map(str.__eq__, found, numbers)) >= 39
    assert list(map(len, found)) == list(map(len, numbers))


def test_separates_most_digits_that_touch(model: MNISTClassifier, sample: MNISTDataModule) -> None:
    pictures, numbers = draw_numbers(sample, 40, seed=1, touching=True)
    found = model.predict_numbers(pictures)
    assert sum(map(str.__eq__, found, numbers)) >= 30


@pytest.mark.parametrize("number", ["33", "36", "50", "79"])
def test_cuts_two_digits_that_overlap(
    number: str, model: MNISTClassifier, sample: MNISTDataModule
) -> None:
    picture = np.zeros((60, 80))
    right = 15
    for label in number:
        index = int((sample.test_set.labels == int(label)).nonzero()[1])
        digit = sample.test_set.images[index, 0].numpy()
        columns = np.flatnonzero(digit.max(axis=0) > 100)
        left = right - 1 - columns[0]  # one column overlaps
        area = picture[15:43, left : left + 28]
        np.maximum(area, digit, out=area)
        right = left + columns[-1] + 1
    assert len(np.unique(label_components(picture > 100))) == 2  # the background and one component
    assert model.predict_numbers(Image.fromarray(picture.astype(np.uint8))) == [number]


def write_on(paper: Image.Image, number: str, sample: MNISTDataModule) -> Image.Image:
    """Writes lines of digits of the sample in black, 60 pixels high and 10 apart."""
    picture = np.asarray(paper.convert("L"), dtype=np.float32)
    for row, line in enumerate(number.split("/")):
        for column, label in enumerate(line):
            index = int((sample.test_set.labels == int(label)).nonzero()[row + column])
            digit = Image.fromarray(sample.test_set.images[index, 0].numpy()).resize((80, 80))
            top, left = 30 + 100 * row, 40 + 70 * column
            area = picture[top : top + 80, left : left + 80]
            area *= 1 - np.asarray(digit) / 255
    return Image.fromarray(picture.astype(np.uint8))


def plain_paper() -> Image.Image:
    return Image.new("L", (400, 260), 240)


def ruled_paper() -> Image.Image:
    paper = plain_paper()
    for y in range(15, 260, 100):
        ImageDraw.Draw(paper).line([(0, y), (400, y)], 60, width=2)
    return paper


def squared_paper() -> Image.Image:
    paper = plain_paper()
    for position in range(0, 400, 20):
        ImageDraw.Draw(paper).line([(position, 0), (position, 260)], 200)
        ImageDraw.Draw(paper).line([(0, position), (400, position)], 200)
    return paper


def margin() -> Image.Image:
    paper = plain_paper()
    ImageDraw.Draw(paper).line([(20, 0), (20, 260)], 60, width=2)
    return paper


def table() -> Image.Image:
    paper = plain_paper()
    ImageDraw.Draw(paper).rectangle((12, 12, 388, 248), outline=40, width=3)
    return paper


def grid() -> Image.Image:
    paper = plain_paper()
    for position in (20, 120, 220):
        ImageDraw.Draw(paper).line([(0, position), (400, position)], 60, width=3)
    for position in range(45, 400, 70):
        ImageDraw.Draw(paper).line([(position, 0), (position, 260)], 60, width=3)
    return paper


def shadow() -> Image.Image:
    light = np.full((260, 400), 240.0)
    light[:, 330:] *= 0.55
    return Image.fromarray(light.astype(np.uint8))


@pytest.mark.parametrize(
    "draw_paper", [plain_paper, ruled_paper, squared_paper, margin, table, grid, shadow]
)
@pytest.mark.parametrize("number", ["2026", "134/908"])
def test_lines_and_shadows_are_not_digits(
    draw_paper: Callable[[], Image.Image],
    number: str,
    model: MNISTClassifier,
    sample: MNISTDataModule,
) -> None:
    assert model.predict_numbers(write_on(draw_paper(), number, sample)) == [number]


@pytest.mark.parametrize(("picture", "number"), DIGITS_IN_PARTS.values(), ids=DIGITS_IN_PARTS)
def test_digits_of_several_strokes_are_not_split(
    picture: Image.Image, number: str, model: MNISTClassifier
) -> None:
    assert model.predict_numbers(picture) == [number]
    if len(number) == 1:
        assert int(model.predict_images(picture).argmax()) == int(number)


def test_finds_a_thin_1_among_bold_digits(model: MNISTClassifier) -> None:
    assert model.predict_numbers(draw_thin_1_and_bold_2()) == ["12"]


def test_doubts_most_letters(model: MNISTClassifier) -> None:
    pictures = []
    for letter in string.ascii_letters:
        pictures.append(Image.new("L", (240, 240), 255))
        font = ImageFont.truetype(FONT, 120)
        ImageDraw.Draw(pictures[-1]).text((120, 120), letter, 0, font, "mm")
    is_unsure = model.predict_images(pictures).amax(dim=1) < UNSURE_BELOW
    assert is_unsure.float().mean() > 0.5


def test_chooses_the_most_probable_readings() -> None:
    single, pair, cut = Reading(0, 1, [BOX]), Reading(0, 2, [BOX]), Reading(0, 1, [BOX, BOX])
    second = Reading(1, 2, [BOX])
    assert choose_digits([[single, second, pair]], [0.9, 0.9, 0.95]) == [[2]]
    assert choose_digits([[single, second, pair]], [0.99, 0.9, 0.9]) == [[0, 1]]
    assert choose_digits([[single, cut]], [0.3, 0.9, 0.9]) == [[1, 2]]
    assert choose_digits([[single, cut]], [0.5, 0.99, 0.99]) == [[0]]  # cuts must be plain
    assert choose_digits([[single], [cut]], [0.0, 1.0, 1.0]) == [[0], [1, 2]]


def test_the_sizes_of_a_digit_are_averaged() -> None:
    probabilities = torch.tensor(
        [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9], [1.0, 0.0], [1, 0], [0.7, 0.3]]
    )
    expected = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    torch.testing.assert_close(average_sizes(probabilities), expected)


def test_boxes_surround_the_digits() -> None:
    picture = Image.new("L", (400, 200), 255)
    for left in (50, 250):
        ImageDraw.Draw(picture).rectangle((left, 60, left + 29, 139), fill=0)
    inputs, [line] = find_digits(picture)
    assert inputs.shape == (len(line), 3, 28, 28)
    boxes = torch.tensor([reading.boxes[0] for reading in line]) * torch.tensor([400, 200] * 2)
    expected = torch.tensor([[50.0, 60, 80, 140], [250, 60, 280, 140]])
    torch.testing.assert_close(boxes, expected, rtol=0, atol=1.5)  # and the edge of the strokes


def test_rejects_a_page_of_text() -> None:
    picture = Image.new("L", (1000, 1000), 255)
    for x in range(10, 1000, 40):
        for y in range(10, 1000, 40):
            ImageDraw.Draw(picture).rectangle((x, y, x + 9, y + 9), fill=0)
    with pytest.raises(UnreadablePictureError, match="more than 500 separate shapes"):
        find_digits(picture)


def draw_dot(side: int) -> Image.Image:
    paper = Image.new("L", (side, side), 255)
    paper.putpixel((side // 2, side // 2), 0)
    return paper


def test_a_speck_on_a_large_paper_is_not_a_digit() -> None:
    with pytest.raises(UnreadablePictureError, match="contains no ink except specks"):
        find_digits(draw_dot(1000))


def test_a_shape_of_one_pixel_cannot_be_cut() -> None:
    _, [[reading]] = find_digits(draw_dot(9))
    assert (reading.start, reading.stop, len(reading.boxes)) == (0, 1, 1)


def test_predict_numbers_accepts_files_and_pictures(
    model: MNISTClassifier, sample: MNISTDataModule, tmp_path: Path
) -> None:
    picture = write_on(plain_paper(), "10/7", sample)
    picture.save(tmp_path / "a.png")
    model.train()
    assert model.predict_numbers([tmp_path / "a.png", picture]) == ["10/7", "10/7"]
    assert model.training
    assert model.predict_numbers([]) == []
    with pytest.raises(UnreadablePictureError, match="the picture contains no ink"):
        model.predict_numbers(Image.new("L", (9, 9)))
