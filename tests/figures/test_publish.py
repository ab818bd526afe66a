"""Figures as PNG files and in loggers."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import pixels
from events import steps
from lightning.pytorch.loggers import (
    CometLogger,
    CSVLogger,
    LitLogger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from matplotlib.figure import Figure
from PIL import Image
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning import FirstLayerFilters
from mnist_lightning.errors import InvalidArgumentError
from mnist_lightning.figures.confusion_matrix import plot_confusion_matrix
from mnist_lightning.figures.grids import plot_training_images
from mnist_lightning.figures.publish import publish


def draw_chart() -> Figure:
    matrix = torch.eye(10, dtype=torch.long) * 1000 + torch.arange(100).view(10, 10) % 7
    return plot_confusion_matrix(matrix, tuple("0123456789"))


def draw_photographs() -> Figure:
    photographs = torch.rand(25, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return plot_training_images(photographs, torch.zeros(25, dtype=torch.long), ["cat"])


def test_chart_has_a_palette_and_a_white_background(tmp_path: Path) -> None:
    publish(quiet_trainer(default_root_dir=tmp_path), draw_chart, "chart", "chart", 1)
    path, expected = tmp_path / "chart.png", pixels(draw_chart())
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("P", expected.shape[1::-1])
        shown = np.asarray(image.convert("RGB"))
    is_background = (expected == 255).all(axis=2)
    assert is_background.mean() > 0.3
    assert (shown[is_background] == 255).all()
    difference = np.abs(shown.astype(int) - expected)
    assert difference.max() < 40
    assert difference.mean() < 2
    full_colour = io.BytesIO()
    Image.fromarray(expected).save(full_colour, "PNG")
    assert path.stat().st_size < len(full_colour.getvalue()) / 2


def test_photographs_keep_their_colours(tmp_path: Path) -> None:
    publish(quiet_trainer(default_root_dir=tmp_path), draw_photographs, "cats", "cats", 1)
    with Image.open(tmp_path / "cats.png") as image:
        assert np.array_equal(np.asarray(image), pixels(draw_photographs()))


def test_reaches_tensorboard_after_the_logger_was_closed(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    trainer = quiet_trainer(logger=logger)
    publish(trainer, draw_chart, "chart", "chart", 1)
    logger.finalize("success")  # as Lightning does at the end of a fit
    publish(trainer, draw_chart, "chart", "chart", 2)
    logger.finalize("success")
    assert steps(logger.log_dir) == {"figures/chart": [1, 2]}
    assert Path(logger.log_dir, "chart.png").exists()


@pytest.mark.usefixtures("workdir")
def test_writes_no_png_to_remote_storage() -> None:
    class RemoteLogger(CSVLogger):
        @property
        @override
        def log_dir(self) -> str:
            return "s3://bucket/run"

    publish(quiet_trainer(logger=RemoteLogger(".")), draw_chart, "chart", "chart", 1)
    assert list(Path().rglob("*.png")) == []


def test_does_not_draw_in_a_dry_run() -> None:
    def draw() -> Figure:
        raise AssertionError("drawn")

    publish(quiet_trainer(fast_dev_run=True), draw, "chart", "chart", 1)


def test_a_file_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "chart.png").mkdir()
    logger = TensorBoardLogger(tmp_path, name="", version="run")
    trainer = quiet_trainer(logger=[CSVLogger(tmp_path, "", ""), logger])
    caplog.clear()
    for epoch in (1, 2):
        assert isinstance(publish(trainer, draw_chart, "chart", "chart", epoch), Figure)
    reason = os.strerror(errno.EISDIR if os.name == "posix" else errno.EACCES)
    assert caplog.messages == [
        f"cannot write the figure {tmp_path / 'chart.png'} ({reason}); the run continues"
    ]
    logger.finalize("success")
    assert steps(logger.log_dir) == {"figures/chart": [1, 2]}  # the loggers get it


def test_a_failing_logger_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise ConnectionError("server not found")

    logger = FakeWandbLogger()
    monkeypatch.setattr(logger, "log_image", fail)
    tensorboard = TensorBoardLogger(tmp_path)
    trainer = quiet_trainer(logger=[logger, tensorboard], default_root_dir=tmp_path)
    caplog.clear()
    for epoch in (1, 2):
        publish(trainer, draw_chart, "chart", "chart", epoch)
    assert caplog.messages == [
        "FakeWandbLogger did not log the figure chart: server not found; the run continues"
    ]
    tensorboard.finalize("success")
    assert steps(tensorboard.log_dir) == {"figures/chart": [1, 2]}


class FakeWandbLogger(WandbLogger):
    """Has the interface of WandbLogger without requiring the package."""

    def __init__(self) -> None:
        self.images: list[Any] = []

    @override
    def log_image(self, *args: Any) -> None:  # type: ignore[override]
        self.images.append(args)

    @property
    @override
    def save_dir(self) -> None:
        return None


class FakeClient:
    """Is a logger and its client, which stores figures."""

    def __init__(self) -> None:
        self.figures: list[Any] = []

    @property
    def experiment(self) -> Any:
        """The client."""
        return self


class FakeCometLogger(FakeClient, CometLogger):
    """Has the interface of CometLogger without requiring the package."""

    def log_figure(self, name: str, figure: Figure, step: int) -> None:
        """Stores what comet_ml's Experiment would get."""
        self.figures.append((name, figure, step))


class FakeMLFlowLogger(FakeClient, MLFlowLogger):
    """Has the interface of MLFlowLogger without requiring the package."""

    run_id = "7"

    def log_figure(self, run_id: str, figure: Figure, file: str) -> None:
        """Stores what MlflowClient would get."""
        self.figures.append((run_id, figure, file))


class FakeLitLogger(LitLogger):
    """Has the interface of LitLogger without requiring the package."""

    def __init__(self) -> None:
        self.files: list[str] = []

    @override
    def log_file(self, path: str) -> None:
        assert Path(path).exists()
        self.files.append(path)


def test_every_logger_gets_the_figure_in_its_own_way(tmp_path: Path) -> None:
    wandb, mlflow, comet, lit = loggers = (
        FakeWandbLogger(),
        FakeMLFlowLogger(),
        FakeCometLogger(),
        FakeLitLogger(),
    )
    trainer = quiet_trainer(logger=[CSVLogger(tmp_path, "", ""), *loggers])
    figure = publish(trainer, draw_chart, "chart", "a chart", 3)
    ((tag, (image,), step),) = wandb.images
    assert (tag, step) == ("figures/a chart", 3)
    with Image.open(tmp_path / "chart.png") as saved:
        assert np.array_equal(np.asarray(image), np.asarray(saved))
    assert mlflow.figures == [("7", figure, "figures/a chart/step_0003.png")]
    assert comet.figures == [("figures/a chart", figure, 3)]
    assert lit.files == [str(tmp_path / "chart.png")]


def test_formats_and_resolution_are_options(tmp_path: Path) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path)
    publish(trainer, draw_chart, "small", "chart", 1)
    publish(trainer, draw_chart, "large", "chart", 1, dpi=240, formats=["png", "pdf", "svg"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "small.png",
        "large.png",
        "large.pdf",
        "large.svg",
    }
    with Image.open(tmp_path / "small.png") as small, Image.open(tmp_path / "large.png") as large:
        assert large.size == pytest.approx([2 * length for length in small.size], abs=1)
    assert (tmp_path / "large.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "large.svg").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dpi": 0}, "dpi is 0; it must be an integer from 10 to 1,200"),
        ({"dpi": 1.5}, "dpi is 1.5; it must be an integer"),
        ({"formats": ["gif"]}, "formats is .*; it must be a list of pdf, png, svg"),
        ({"formats": "png"}, "formats is 'png'; it must be a list of pdf, png, svg"),
        ({"formats": []}, "it must be a list of pdf, png, svg"),
    ],
)
def test_invalid_formats_are_reported(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        FirstLayerFilters(**options)
