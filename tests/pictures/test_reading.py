"""Picture files are found and decoded, and damaged ones are reported."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import DataError
from mnist_lightning.pictures import reading
from mnist_lightning.pictures.dataset import PictureDigits
from mnist_lightning.pictures.digits import find_digits, find_single_digit, load_digits
from mnist_lightning.pictures.ink import UnreadablePictureError
from mnist_lightning.pictures.reading import find_pictures, read_pictures


def test_finds_files_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "notes.txt", "x[1].png", "sub/c.webp", "sub/deep/d.tiff"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("folder.png").mkdir()

    def found(*names: str) -> list[str]:
        return [Path(path).as_posix() for path in find_pictures(names)]

    assert found("b.png", "*.png", "b.png") == ["b.png", "x[1].png"]
    assert found(".") == ["a.JPG", "b.png", "x[1].png"]
    assert found("notes.txt") == ["notes.txt"]  # an explicit name may have any suffix
    assert found("x[1].png") == ["x[1].png"]
    assert found("**/*") == ["a.JPG", "b.png", "sub/c.webp", "sub/deep/d.tiff", "x[1].png"]
    assert found(f"{tmp_path}/sub/*") == [f"{tmp_path.as_posix()}/sub/c.webp"]
    for name, message in (
        ("none.png", "none.png is not a file"),
        ("*.bmp", r"\*.bmp is not a file"),
        ("folder.png", "folder.png contains no pictures"),
        (os.devnull, f"{re.escape(os.devnull)} is not a file"),
    ):
        with pytest.raises(DataError, match=f"^{message}; pass files, folders or patterns"):
            find_pictures([name])


def test_reads_each_frame_of_a_file(tmp_path: Path) -> None:
    frames = [Image.new("L", (50, 50), shade) for shade in (0, 90, 200)]
    for name in ("scan.tif", "animation.gif", "animation.webp", "animation.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        results = list(read_pictures(tmp_path / name))
        assert [name for name, _ in results] == [f"{tmp_path / name}#{i}" for i in (1, 2, 3)]
        assert all(isinstance(picture, Image.Image) for _, picture in results)


def test_skips_the_preview_in_a_phone_photo(tmp_path: Path) -> None:
    frames = [Image.new("L", (50, 50), shade) for shade in (0, 90)]
    path = tmp_path / "phone.jpg"
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:])
    assert [name for name, _ in read_pictures(path)] == [str(path)]


def read_reason(path: Path) -> str:
    """Returns the reason why the only picture in a file cannot be read."""
    [(_, error)] = read_pictures(path)
    assert isinstance(error, UnreadablePictureError)
    return str(error)


def test_reports_why_a_file_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    assert read_reason(path).startswith("is not a picture in a supported format (PNG, JPEG")
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # EPS can run programs
    assert read_reason(path).startswith("is not a picture in a supported format (PNG, JPEG")
    Image.effect_noise((99, 99), 50).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert read_reason(path) == "cannot be read (the file is damaged)"
    path.unlink()
    assert read_reason(path) == "cannot be read (No such file or directory)"
    Image.new("L", (99, 99)).save(path)
    monkeypatch.setattr(reading, "MAX_PIXELS", 99 * 99 - 1)
    assert read_reason(path) == "has more than 9,800 pixels"


@pytest.mark.parametrize("kind", reading.FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of damage that it can repair
def test_damaged_files_give_pictures_or_reasons(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    Image.effect_noise((40, 30), 80).convert("RGB").save(path, kind)
    intact = path.read_bytes()
    [(_, picture)] = read_pictures(path)
    assert isinstance(picture, Image.Image)
    for _ in range(50):
        content = bytearray(intact[: rng.integers(1, len(intact) + 1)])
        for position in rng.integers(len(content), size=rng.integers(20)):
            content[position] = rng.integers(256)
        path.write_bytes(content)
        item = PictureDigits([str(path)])[0]
        assert item.shape[1:] == (1, 28, 28)


def test_rejects_a_later_page_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_PIXELS", 1000)
    path = tmp_path / "a.tif"
    Image.new("L", (9, 9)).save(path, save_all=True, append_images=[Image.new("L", (999, 99))])
    (_, first), (name, second) = read_pictures(path)
    assert isinstance(first, Image.Image)
    assert name == f"{path}#2"
    assert str(second) == "has more than 1,000 pixels"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems reject such names")
def test_replaces_control_characters_in_file_names(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\x1b[2J.png")
    Image.new("L", (9, 9)).save(tmp_path / name)
    assert [name for name, _ in read_pictures(tmp_path / name)] == [str(tmp_path / "??[2J.png")]


def test_load_digits_uses_the_first_frame_of_each_file(
    sample: MNISTDataModule, tmp_path: Path
) -> None:
    picture = Image.fromarray(sample.test_set.images[0, 0].numpy())
    blank = Image.new("L", (28, 28))
    picture.save(tmp_path / "scan.tif", save_all=True, append_images=[blank])
    digits = load_digits([tmp_path / "scan.tif", str(tmp_path / "scan.tif"), picture])
    assert digits.dtype == torch.float32
    assert torch.equal(digits, find_single_digit(picture).expand(3, 3, 28, 28))
    assert load_digits([]).shape == (0, 3, 28, 28)
    blank.save(tmp_path / "scan.tif", save_all=True, append_images=[picture])
    with pytest.raises(UnreadablePictureError, match=r"scan\.tif#1 contains no ink"):
        load_digits([tmp_path / "scan.tif"])


def test_picture_digits_hold_each_frame_that_shows_a_digit(
    sample: MNISTDataModule, tmp_path: Path
) -> None:
    path = tmp_path / "scan.tif"
    picture = Image.fromarray(sample.test_set.images[0, 0].numpy())
    picture.save(path, save_all=True, append_images=[Image.new("L", (28, 28)), picture.rotate(90)])
    digits = PictureDigits([str(path)])
    assert len(digits) == 1
    inputs, lines = zip(*map(find_digits, (picture, picture.rotate(90))), strict=True)
    assert torch.equal(digits[0], torch.cat(inputs).flatten(0, 1).unsqueeze(1))
    names = [f"{path}#{number}" for number in (1, 2, 3)]
    assert list(digits.results) == names
    assert [digits.results[names[index]] for index in (0, 2)] == list(lines)
    assert isinstance(digits.results[names[1]], UnreadablePictureError)
    thumbnails, shown_inputs, _ = zip(*digits.shown, strict=True)
    assert [thumbnail.shape for thumbnail in thumbnails] == [(28, 28, 3)] * 2
    assert torch.equal(torch.cat(shown_inputs), torch.cat(inputs))


def test_only_the_first_pictures_are_kept_for_the_figure(
    sample: MNISTDataModule, tmp_path: Path
) -> None:
    pictures = [Image.fromarray(image) for image in sample.test_set.images[:31, 0].numpy()]
    pictures[0].save(tmp_path / "scan.tif", save_all=True, append_images=pictures[1:])
    digits = PictureDigits([str(tmp_path / "scan.tif")])
    first, *_ = find_digits(pictures[0])
    last, *_ = find_digits(pictures[29])
    assert len(digits[0]) > 0
    assert len(digits.results) == 31
    assert len(digits.shown) == 30
    assert torch.equal(digits.shown[0].inputs, first)
    assert torch.equal(digits.shown[-1].inputs, last)


def test_predict_images_accepts_files_and_pictures(sample: MNISTDataModule, tmp_path: Path) -> None:
    model = MNISTClassifier.from_pretrained(dropout=0.5)
    picture = Image.fromarray(sample.test_set.images[0, 0].numpy())
    picture.save(tmp_path / "a.png")
    model.train()
    probabilities = model.predict_images([tmp_path / "a.png", str(tmp_path / "a.png"), picture])
    assert model.training
    assert probabilities.shape == (3, 10)
    torch.testing.assert_close(probabilities, probabilities[:1].expand(3, 10))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    assert model.predict_images([]).shape == (0, 10)
    with pytest.raises(UnreadablePictureError, match=r"no\.png cannot be read"):
        model.predict_images([picture, "no.png"])
    with pytest.raises(UnreadablePictureError, match="the picture contains no ink"):
        model.predict_images([Image.new("L", (9, 9))])


def test_reads_forty_megapixels(tmp_path: Path) -> None:
    model = MNISTClassifier.from_pretrained()
    picture = Image.new("RGB", (8000, 5000), "white")
    ImageDraw.Draw(picture).line((4000, 1000, 3900, 4000), fill="blue", width=200)
    picture.save(tmp_path / "photo.jpg")
    assert model.predict_images([tmp_path / "photo.jpg"]).argmax(dim=1).tolist() == [1]


def test_load_digits_accepts_a_single_file(tmp_path: Path, sample: MNISTDataModule) -> None:
    path = tmp_path / "digit.png"
    Image.fromarray(sample.test_set.images[0, 0].numpy()).save(path)
    expected = load_digits([path])
    assert expected.shape == (1, 3, 28, 28)
    for source in (path, str(path), Image.open(path)):
        torch.testing.assert_close(load_digits(source), expected)
