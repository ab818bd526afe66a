"""All callbacks that draw, together in Trainers with various options."""

import gc
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from drawings import FIGURE_FILES, held_bytes, logged_messages
from events import steps
from foreign import ForeignClassifier
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure
from PIL import Image
from trainers import quiet_trainer

from mnist_lightning import (
    ConfusionMatrix,
    FirstLayerFilters,
    LearningCurves,
    MisclassifiedGrid,
    MNISTClassifier,
    MNISTDataModule,
    PredictionGrid,
    TrainingImages,
)
from mnist_lightning.callbacks.figure_callback import FigureCallback

EVALUATION_FILES = {"confusion_matrix.png", "misclassified.png", "predictions.png"}
STATM = Path("/proc/self/statm")  # on Linux


def all_callbacks() -> list[Callback]:
    return [
        ConfusionMatrix(),
        FirstLayerFilters(),
        LearningCurves(),
        MisclassifiedGrid(),
        PredictionGrid(),
        TrainingImages(),
    ]


def figure_files(folder: str | Path | None) -> set[str]:
    """Returns the names of the figures in a folder, which must be intact and small."""
    assert folder is not None
    paths = list(Path(folder).glob("*.png"))
    for path in paths:
        with Image.open(path) as image:
            image.load()
        assert path.stat().st_size < 300_000
    return {path.name for path in paths}


def fit_and_test(model: Any, data: Any, folder: Path, **kwargs: Any) -> Trainer:
    short = {"limit_train_batches": 3, "max_epochs": 2}
    defaults = short | {"default_root_dir": folder, "callbacks": all_callbacks()}
    trainer = quiet_trainer(**defaults | kwargs)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["none", "csv", "tensorboard", "csv and tensorboard"])
def test_draw_with_any_logger(tmp_path: Path, sample: MNISTDataModule, logger: str) -> None:
    tensorboard = TensorBoardLogger(tmp_path, "tb", default_hp_metric=False)
    loggers = {
        "none": [],
        "csv": [CSVLogger(tmp_path, "csv")],
        "tensorboard": [tensorboard],
        "csv and tensorboard": [CSVLogger(tmp_path, "csv"), tensorboard],
    }[logger]
    trainer = fit_and_test(MNISTClassifier(), sample, tmp_path, logger=loggers or False)
    assert figure_files(trainer.log_dir) == FIGURE_FILES
    assert len(list(tmp_path.rglob("*.png"))) == len(FIGURE_FILES)
    if "tensorboard" in logger:
        figure_steps = {
            tag: epochs
            for tag, epochs in steps(tensorboard.log_dir).items()
            if tag.startswith("figures/")
        }
        assert figure_steps == {
            "figures/confusion matrix, test": [2],
            "figures/confusion matrix, validation": [2],
            "figures/filters": [2],
            "figures/learning curves": [1, 2],
            "figures/misclassified, test": [2],
            "figures/misclassified, validation": [2],
            "figures/predictions, test": [2],
            "figures/predictions, validation": [1, 2],
            "figures/training images": [1],
        }


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"limit_val_batches": 0}, set()),  # the test images are drawn
        ({"limit_test_batches": 0}, set()),  # the validation images are drawn
        ({"limit_val_batches": 0, "limit_test_batches": 0}, EVALUATION_FILES),
        ({"limit_train_batches": 0}, {"curves.png", "filters.png", "training_images.png"}),
        ({"limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1}, set()),
    ],
)
def test_draw_with_few_batches_or_none(
    tmp_path: Path, sample: MNISTDataModule, options: dict[str, int], missing: set[str]
) -> None:
    fit_and_test(MNISTClassifier(), sample, tmp_path, **options)
    assert figure_files(tmp_path) == FIGURE_FILES - missing


def test_draw_with_a_model_of_another_project(tmp_path: Path, sample: MNISTDataModule) -> None:
    fit_and_test(ForeignClassifier(), sample, tmp_path)
    assert figure_files(tmp_path) == FIGURE_FILES - {"filters.png"}  # it has no convolution


@pytest.mark.slow
def test_memory_does_not_grow_in_thirty_epochs(tmp_path: Path, sample: MNISTDataModule) -> None:
    class MeasureMemory(Callback):
        def __init__(self) -> None:
            self.resident_bytes: list[int] = []
            self.num_figures: list[int] = []

        def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
            if trainer.current_epoch not in (9, 19, 29):
                return
            gc.collect()
            self.num_figures.append(sum(type(item) is Figure for item in gc.get_objects()))
            if STATM.exists():
                num_pages = int(STATM.read_text().split()[1])
                self.resident_bytes.append(num_pages * os.sysconf("SC_PAGE_SIZE"))

    memory = MeasureMemory()
    fit_and_test(
        MNISTClassifier(),
        sample,
        tmp_path,
        callbacks=[*all_callbacks(), memory],
        limit_train_batches=1,
        limit_val_batches=2,
        max_epochs=30,
    )
    assert memory.num_figures == [memory.num_figures[0]] * 3
    if memory.resident_bytes:  # the pixels of 40 figures would be 80 MB
        assert memory.resident_bytes[-1] - memory.resident_bytes[0] < 50e6
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_memory_does_not_grow_with_the_data(tmp_path: Path, sample: MNISTDataModule) -> None:
    totals = []
    for num_batches in (2, 7):
        grids = [MisclassifiedGrid(), PredictionGrid(), TrainingImages()]
        held: list[int] = []

        class MeasureGrids(Callback):
            def on_train_epoch_end(self, *args: Any) -> None:
                held.append(sum(held_bytes(grid) for grid in grids))  # noqa: B023 - runs at once

        trainer = quiet_trainer(
            default_root_dir=tmp_path,
            callbacks=[MeasureGrids(), *grids],
            limit_train_batches=num_batches,
            limit_val_batches=num_batches,
            max_epochs=1,
        )
        trainer.fit(MNISTClassifier(), sample)
        totals += held
    few_batches, many_batches = totals
    assert abs(few_batches - many_batches) < 100
    # Four grids, because MisclassifiedGrid holds its own images and those of all processes.
    assert few_batches < 4 * 25 * (28 * 28 * 4 + 200)


def test_callbacks_show_their_last_figure(tmp_path: Path, sample: MNISTDataModule) -> None:
    callbacks = all_callbacks()
    for callback in callbacks:
        assert isinstance(callback, FigureCallback)
        assert callback.figure is None
        assert callback._repr_png_() is None
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=callbacks, max_epochs=1, limit_train_batches=2
    )
    trainer.fit(MNISTClassifier(), sample)
    for name, callback in zip(
        (
            "confusion_matrix",
            "filters",
            "curves",
            "misclassified",
            "predictions",
            "training_images",
        ),
        callbacks,
        strict=True,
    ):
        assert isinstance(callback, FigureCallback)
        assert isinstance(callback.figure, Figure)
        assert callback._repr_png_() == (tmp_path / f"{name}.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["TkAgg", "nonsense"])
def test_draw_on_a_machine_without_a_display(tmp_path: Path, backend: str) -> None:
    code = """
        from lightning.pytorch import Trainer
        from mnist_lightning import LearningCurves, MNISTClassifier, MNISTDataModule

        trainer = Trainer(
            callbacks=[LearningCurves()], logger=False, enable_checkpointing=False, max_epochs=1,
            limit_train_batches=1, limit_val_batches=1, enable_progress_bar=False,
            default_root_dir=".",
        )
        trainer.fit(MNISTClassifier(), MNISTDataModule(source="sample"))
    """
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    if backend == "nonsense":  # matplotlib accepts any module at import
        backend = "module://nonsense"
    completed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=environment | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert figure_files(tmp_path) == {"curves.png"}


def test_can_be_reused_after_other_runs(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    class Fail(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise RuntimeError("failed")

    callbacks, short = all_callbacks(), {"limit_train_batches": 3, "max_epochs": 1}
    with pytest.raises(RuntimeError, match="failed"):
        quiet_trainer(**short, default_root_dir=tmp_path / "0", callbacks=[*callbacks, Fail()]).fit(
            MNISTClassifier(), sample
        )
    trainer = quiet_trainer(**short, default_root_dir=tmp_path / "1", callbacks=callbacks)
    trainer.fit(MNISTClassifier(), sample)
    trainer.test(MNISTClassifier(), sample, verbose=False)
    quiet_trainer(
        **short, default_root_dir=tmp_path / "2", callbacks=callbacks, limit_val_batches=0
    ).fit(MNISTClassifier(), sample)
    assert not (tmp_path / "0").exists()
    assert figure_files(tmp_path / "1") == FIGURE_FILES
    assert figure_files(tmp_path / "2") == {"curves.png", "filters.png", "training_images.png"}
    assert logged_messages(caplog) == []
