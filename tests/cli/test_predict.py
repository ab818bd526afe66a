"""The command ``predict``."""

import csv
import re
from pathlib import Path

import pytest
import torch
from command_line import fail, names, slashes
from drawings import Drawing
from PIL import Image

from mnist_lightning import (
    MNISTDataModule,
)
from mnist_lightning.cli import main


def test_rejects_several_devices(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
    code, line = fail(capsys, "predict")
    assert code == 2
    assert "predict works on one device only" in line


def test_without_any_image(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", "--trainer.limit_predict_batches=0"])
    out = capsys.readouterr().out
    assert "Prediction: no result, because the options leave no batches" in out
    assert "predictions.csv" not in names(trained / "lightning_logs" / "version_1")


def test_fast_dev_run_writes_no_files(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(trained / "lightning_logs")
    main(["predict", "--trainer.fast_dev_run=true"])
    assert "predictions.csv" not in capsys.readouterr().out
    assert names(trained / "lightning_logs") == before


def test_writes_predictions_of_the_test_images(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = main(["predict"])
    run = trained / "lightning_logs" / "version_1"
    assert names(run) == {"config.yaml", "environment.json", "predictions.csv"}
    with (run / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "label", "probability", *(f"p{i}" for i in range(10)), "number"]
    assert [row[0] for row in rows] == [f"test/{index:05d}" for index in range(1000)]
    images, _ = cli.datamodule.test_set.batch(torch.arange(1000))
    with torch.no_grad():
        expected = cli.model.eval()(images).softmax(dim=1)
    found = torch.tensor([[float(value) for value in row[3:13]] for row in rows])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert [int(row[1]) for row in rows] == expected.argmax(dim=1).tolist()
    assert [row[2] for row in rows] == [row[3 + int(row[1])] for row in rows]
    out = capsys.readouterr().out
    table = re.findall(r"^test/(\d{5})  (\d)  +(\d+\.\d\d)%", out, re.MULTILINE)
    assert table == [
        (f"{index:05d}", row[1], f"{100 * float(row[2]):.2f}")
        for index, row in enumerate(rows[:10])
    ]
    assert "predictions.csv has 1,000 rows" in out


def test_predicts_pictures(
    workdir: Path, sample: MNISTDataModule, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scans").mkdir()
    images, labels = sample.test_set.images[:3, 0].numpy(), sample.test_set.labels[:3].tolist()
    for name, image in zip(("c.png", "scans/a.png", "scans/b.png"), images, strict=True):
        Image.fromarray(255 - image).resize((280, 280)).save(name)
    main(["predict", "--ckpt_path=pretrained", "--data.images=[scans/, c.png, 'scans/*.png']"])
    run = workdir / "lightning_logs" / "version_0"
    assert names(run) == {"config.yaml", "environment.json", "predictions.csv", "predictions.png"}
    assert names(workdir) == {"c.png", "scans", "lightning_logs"}  # MNIST was not asked for
    with (run / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "label", "probability", *(f"p{i}" for i in range(10)), "number"]
    assert [slashes(row[0]) for row in rows] == ["scans/a.png", "scans/b.png", "c.png"]
    assert [int(row[1]) for row in rows] == [labels[1], labels[2], labels[0]]
    out, _ = capsys.readouterr()
    assert "WARNING" not in out
    assert re.search(rf"^c\.png        {labels[0]}  +\d+\.\d\d%$", out, re.MULTILINE)
    assert "predictions.csv has 3 rows" in out
    assert "Data:        your pictures" in out


def test_predicts_numbers(
    workdir: Path,
    sample: MNISTDataModule,
    drawn: list[Drawing],
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, labels = sample.test_set.images[:4, 0].numpy(), sample.test_set.labels[:4].tolist()
    first, second, third, single = (Image.fromarray(image) for image in images)
    sheet = Image.new("L", (80, 70))
    for digit, position in ((first, (5, 5)), (second, (45, 5)), (third, (25, 40))):
        sheet.paste(digit, position)
    sheet.save("a.png")
    single.save("b.png")
    cli = main(["predict", "--ckpt_path=pretrained", "--data.images=*.png"])
    with (workdir / "lightning_logs" / "version_0" / "predictions.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    number = f"{labels[0]}{labels[1]}/{labels[2]}"
    assert [row[0] for row in rows] == ["a.png[1]", "a.png[2]", "a.png[3]", "b.png"]
    assert [int(row[1]) for row in rows] == labels
    assert [row[-1] for row in rows] == [number] * 3 + [str(labels[3])]
    out = capsys.readouterr().out
    lowest = min(float(row[2]) for row in rows[:3])
    assert re.search(rf"^a\.png  {number}  +{100 * lowest:.2f}%$", out, re.MULTILINE)
    assert re.search(rf"^b\.png  {labels[3]}     +\d+\.\d\d%$", out, re.MULTILINE)
    assert "predictions.csv has 4 rows" in out
    assert cli.model.predict_numbers(["a.png", "b.png"]) == [number, str(labels[3])]
    [drawing] = drawn
    assert drawing.title == "2 pictures"
    assert drawing.texts[0].startswith(f"a.png\n{number}   lowest: ")
    assert drawing.texts[2:5] == list(map(str, labels[:3]))


def test_pictures_without_a_digit_do_not_stop_the_rest(
    workdir: Path,
    sample: MNISTDataModule,
    drawn: list[Drawing],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("L", (50, 50), 255).save("1.png")
    Path("2.png").write_text("no picture")
    digit = Image.fromarray(sample.test_set.images[0, 0].numpy())
    digit.save("3.gif", save_all=True, append_images=[Image.new("L", (28, 28)), digit.rotate(180)])
    code, line = fail(capsys, "predict", "--ckpt_path=pretrained", "--data.images=*.*")
    assert code == 1
    assert line == "error: found no digit in 3 of 5 pictures: 1.png, 2.png, 3.gif#2"
    run = workdir / "lightning_logs" / "version_0"
    with (run / "predictions.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0] for row in rows] == ["1.png", "2.png", "3.gif#1", "3.gif#2", "3.gif#3"]
    assert [bool(row[1]) for row in rows] == [False, False, True, False, True]
    assert {len(row) for row in rows} == {14}
    [drawing] = drawn
    assert drawing.title == "2 pictures"
    assert [text.split("\n")[0] for text in drawing.texts[:2]] == ["3.gif#1", "3.gif#3"]


@pytest.mark.usefixtures("workdir")
def test_no_figure_if_no_picture_shows_a_digit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("L", (50, 50)).save("1.png")
    code, line = fail(capsys, "predict", "--ckpt_path=pretrained", "--data.images=1.png")
    assert (code, line) == (1, "error: found no digit in 1 of 1 pictures: 1.png")
    run = Path("lightning_logs/version_0")
    assert names(run) == {"config.yaml", "environment.json", "predictions.csv"}


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (["predict", "--data.images=nix.png"], 1, "nix.png is not a file; pass files, folders or"),
        (["predict", "--data.images=[]"], 2, r"--data.images is \[\]; it must name files"),
        (["predict", "--data.images=[a, '']"], 2, r"--data.images is \['a', ''\]; it must"),
        (["test", "--data.images=a"], 2, "--data.images is 'a'; only predict uses it"),
        (["fit", "--data.images=a"], 2, "--data.images is 'a'; only predict uses it"),
    ],
)
def test_rejects_invalid_pictures(
    workdir: Path, args: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained = ["--ckpt_path=pretrained"] if args[0] != "fit" else []
    found, line = fail(capsys, *args, *pretrained)
    assert found == code
    assert re.match(f"error: {why}", line)
    assert names(workdir) == set()
