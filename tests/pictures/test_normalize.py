"""Pictures of digits brought into MNIST's form."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from synthetic_pictures import KINDS, on_canvas

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import DataError
from mnist_lightning.pictures import reading
from mnist_lightning.pictures.normalize import UnreadablePictureError, to_digit
from mnist_lightning.pictures.reading import PictureDigits, find_pictures, read_pictures


@pytest.fixture(scope="module")
def model() -> MNISTClassifier:
    return MNISTClassifier.from_pretrained()


@pytest.mark.parametrize("kind", KINDS)
def test_digits_are_read_whatever_the_picture(
    kind: str, model: MNISTClassifier, sample: MNISTDataModule
) -> None:
    images, labels = sample.test_set.images[:30, 0].numpy() / 255, sample.test_set.labels[:30]
    random = np.random.default_rng(0)
    pictures = [KINDS[kind](image, random) for image in images]
    assert model.predict_images(pictures).argmax(dim=1).tolist() == labels.tolist()


@pytest.mark.parametrize("light_on_dark", [False, True])
def test_a_digit_on_a_canvas_becomes_what_it_was(
    light_on_dark: bool, sample: MNISTDataModule
) -> None:
    random = np.random.default_rng(1)
    images = sample.test_set.images[:40].float().div(255)
    found = torch.stack([to_digit(on_canvas(i[0].numpy(), random, light_on_dark)) for i in images])
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert (float(found.min()), float(found.max())) == (0, 1)
    # Of a digit of MNIST a tenth is ink; moved by a pixel, it differs by 0.07 of the area.
    assert float((found - images).abs().mean()) < 0.035
    assert math.isclose(float(found.mean()), float(images.mean()), rel_tol=0.03)
    for digit in found[:, 0]:
        rows, columns = digit.amax(1).nonzero(), digit.amax(0).nonzero()
        assert max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1 == 20
        pixel = torch.arange(28.0)
        for marginal in (digit.sum(1), digit.sum(0)):
            assert abs(float(marginal @ pixel / digit.sum()) - 14) <= 0.5001


def test_the_ratio_of_the_sides_is_kept() -> None:
    picture = Image.new("L", (300, 200), 255)
    ImageDraw.Draw(picture).rectangle((50, 60, 249, 109), fill=0)  # 200 by 50
    ink = to_digit(picture)[0] > 0.5
    assert (int(ink.any(0).sum()), int(ink.any(1).sum())) == (20, 5)


def test_a_thin_line_is_as_light_as_a_thick_one() -> None:
    picture = Image.new("L", (600, 600), 255)
    ImageDraw.Draw(picture).ellipse((150, 50, 450, 550), outline=0, width=4)
    assert to_digit(picture).max() == 1


def test_ink_stays_inside_wherever_its_mass_is() -> None:
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
def test_a_picture_without_ink_is_blank(picture: Image.Image) -> None:
    with pytest.raises(UnreadablePictureError, match="no ink"):
        to_digit(picture)


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (3, 3), (1, 3000), (3000, 1), (28, 28)])
def test_any_size_gives_a_digit_or_none(size: tuple[int, int]) -> None:
    picture = Image.new("L", size, 255)
    picture.putpixel((0, 0), 0)
    try:
        assert to_digit(picture).shape == (1, 28, 28)
    except UnreadablePictureError:
        assert max(size) != 28  # there it is as plain as can be


def test_forty_megapixels(tmp_path: Path, model: MNISTClassifier) -> None:
    picture = Image.new("RGB", (8000, 5000), "white")
    ImageDraw.Draw(picture).line((4000, 1000, 3900, 4000), fill="blue", width=200)
    picture.save(tmp_path / "one.jpg")
    assert model.predict_images([tmp_path / "one.jpg"]).argmax(dim=1).tolist() == [1]


def test_each_frame_of_a_file_is_a_picture(tmp_path: Path) -> None:
    frames = [Image.new("L", (50, 50), shade) for shade in (0, 90, 200)]
    for name in ("scan.tif", "moves.gif", "moves.webp", "moves.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        found = list(read_pictures(tmp_path / name))
        assert [name for name, _ in found] == [f"{tmp_path / name}#{i}" for i in (1, 2, 3)]
        assert all(isinstance(picture, Image.Image) for _, picture in found)


def test_behind_a_photograph_its_preview_is_not_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (50, 50), shade) for shade in (0, 90)]
    path = tmp_path / "phone.jpg"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    assert [name for name, _ in read_pictures(path)] == [str(path)]


def reason(path: Path) -> str:
    """Returns why the only picture in a file cannot be read."""
    [(_, error)] = read_pictures(path)
    assert isinstance(error, UnreadablePictureError)
    return str(error)


def test_what_is_no_picture_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    assert reason(path).startswith("is none of PNG, JPEG")
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # a program
    assert reason(path).startswith("is none of PNG, JPEG")
    Image.effect_noise((99, 99), 50).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert reason(path) == "cannot be read (damaged)"
    path.unlink()
    assert reason(path) == "cannot be read (No such file or directory)"
    Image.new("L", (99, 99)).save(path)
    monkeypatch.setattr(reading, "MAX_PIXELS", 99 * 99 - 1)
    assert reason(path) == "has more than 9,800 pixels"


@pytest.mark.parametrize("kind", reading.FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # what is odd about a file that can be read
def test_any_damage_to_a_file_leaves_pictures_or_reasons(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "a"
    Image.effect_noise((40, 30), 80).convert("RGB").save(path, kind)
    whole = path.read_bytes()
    [(_, picture)] = read_pictures(path)
    assert isinstance(picture, Image.Image)
    for _ in range(50):
        content = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(len(content), size=random.integers(20)):
            content[place] = random.integers(256)
        path.write_bytes(content)
        item = PictureDigits([path])[0]
        assert item.shape[1:] == (1, 28, 28)


def test_a_later_page_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_PIXELS", 1000)
    path = tmp_path / "a.tif"
    Image.new("L", (9, 9)).save(path, save_all=True, append_images=[Image.new("L", (999, 99))])
    (_, first), (name, second) = read_pictures(path)
    assert isinstance(first, Image.Image)
    assert name == f"{path}#2"
    assert str(second) == "has more than 1,000 pixels"


def test_a_name_cannot_write_on_the_screen(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\x1b[2J.png")
    Image.new("L", (9, 9)).save(tmp_path / name)
    assert [name for name, _ in read_pictures(tmp_path / name)] == [str(tmp_path / "??[2J.png")]


def test_names_are_files_folders_and_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", "x[1].png", "sub/c.webp", "sub/deep/d.tiff"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("folder.png").mkdir()

    def found(*names: str) -> list[str]:
        return list(map(str, find_pictures(names)))

    assert found("b.png", "*.png", "b.png") == ["b.png", "x[1].png"]
    assert found(".") == ["a.JPG", "b.png", "x[1].png"]
    assert found("notes.txt") == ["notes.txt"]  # named by itself, whatever it is
    assert found("x[1].png") == ["x[1].png"]
    assert found("**/*") == ["a.JPG", "b.png", "sub/c.webp", "sub/deep/d.tiff", "x[1].png"]
    assert found(f"{tmp_path}/sub/*") == [f"{tmp_path}/sub/c.webp"]
    for name, why in (
        ("none.png", "none.png is no file"),
        ("*.bmp", r"\*.bmp is no file"),
        ("folder.png", "folder.png is a folder without pictures"),
        ("/dev/zero", "/dev/zero is no file"),
    ):
        with pytest.raises(DataError, match=f"^{why}; name files, folders or patterns"):
            find_pictures([name])


def test_predict_images_takes_files_and_pictures(sample: MNISTDataModule, tmp_path: Path) -> None:
    model = MNISTClassifier.from_pretrained(dropout=0.5)
    picture = Image.fromarray(sample.test_set.images[0, 0].numpy())
    picture.save(tmp_path / "a.png")
    model.train()
    found = model.predict_images([tmp_path / "a.png", str(tmp_path / "a.png"), picture])
    assert model.training
    assert found.shape == (3, 10)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))
    assert model.predict_images([]).shape == (0, 10)
    with pytest.raises(UnreadablePictureError, match=r"no\.png cannot be read"):
        model.predict_images([picture, "no.png"])
    with pytest.raises(UnreadablePictureError, match="the picture shows no ink"):
        model.predict_images([Image.new("L", (9, 9))])
