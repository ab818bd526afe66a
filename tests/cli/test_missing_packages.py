"""Classes that require a package that is not installed, and output that lacks characters."""

import subprocess
from pathlib import Path

import pytest
from command_line import SHORT, command, environment, fail, names
from lightning_utilities.core.imports import RequirementCache
from PIL import Image, ImageDraw

ABSENT = RequirementCache("absent_package>=1.0")


@pytest.mark.parametrize(
    ("module", "option", "logger"),
    [
        ("loggers.wandb._WANDB_AVAILABLE", "logger=WandbLogger", "loggers.WandbLogger"),
        ("loggers.mlflow._MLFLOW_AVAILABLE", "logger=MLFlowLogger", "loggers.MLFlowLogger"),
        (
            "loggers.mlflow._MLFLOW_AVAILABLE",
            "logger=[{class_path: CSVLogger, init_args: {save_dir: .}}, MLFlowLogger]",
            "loggers.MLFlowLogger",
        ),
    ],
)
def test_loggers_name_their_package(
    module: str,
    option: str,
    logger: str,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(f"lightning.pytorch.{module}", ABSENT)
    status, message = fail(capsys, "fit", *SHORT, f"--trainer.{option}")
    assert status == 2
    assert message == (
        f"error: lightning.pytorch.{logger} requires a package; run: pip install "
        "'absent_package>=1.0'"
    )
    assert names(workdir) == set()


@pytest.mark.usefixtures("workdir")
def test_callbacks_name_their_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "lightning.pytorch.callbacks.device_stats_monitor._PSUTIL_AVAILABLE"
    monkeypatch.setattr(module, ABSENT)
    monitor = "--trainer.callbacks=DeviceStatsMonitor"
    status, message = fail(capsys, "fit", *SHORT, monitor)
    assert status == 1
    assert "`DeviceStatsMonitor` cannot log CPU stats" in message


@pytest.mark.slow
@pytest.mark.usefixtures("workdir")
def test_output_escapes_what_its_encoding_lacks() -> None:
    paper = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(paper).line([(110, 40), (95, 160)], 0, width=14)
    for name in ("семь.png", "图片.png"):
        paper.save(name)
    images = ["--data.images", "*.png"]
    process = subprocess.run(
        command("predict", "--ckpt_path=pretrained", *images),
        env={**environment(), "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        encoding="cp1252",
        check=True,
    )
    assert process.stderr == ""
    assert "\\u0441\\u0435\\u043c\\u044c.png  1" in process.stdout
    (path,) = Path("lightning_logs").rglob("predictions.csv")
    assert "семь.png,1," in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("workdir")
def test_a_sweep_prints_without_unicode() -> None:
    process = subprocess.run(
        command("sweep", *SHORT, "--space={seed_everything: [0, 1]}", "--trials=2"),
        env={**environment(), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        encoding="ascii",
        check=True,
    )
    assert process.stderr == ""
    assert "% \\xb1 " in process.stdout  # the standard error
