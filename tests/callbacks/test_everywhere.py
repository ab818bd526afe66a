"""All callbacks together, in Trainers of all kinds."""

import gc
import json
import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from drawings import PICTURES, Drawing, said
from events import steps
from foreign import Foreign
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

EVALUATED = {"confusion_matrix.png", "misclassified.png", "predictions.png"}
STATM = Path("/proc/self/statm")  # where the system is Linux


def callbacks() -> list[Callback]:
    return [
        ConfusionMatrix(),
        FirstLayerFilters(),
        LearningCurves(),
        MisclassifiedGrid(),
        PredictionGrid(),
        TrainingImages(),
    ]


def execute(script: Path) -> None:
    """Runs a script in its folder."""
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def pictures(folder: str | Path | None) -> set[str]:
    assert folder is not None
    found = list(Path(folder).glob("*.png"))
    for path in found:
        with Image.open(path) as image:
            image.load()
        assert path.stat().st_size < 300_000
    return {path.name for path in found}


def run(model: Any, data: Any, folder: Path, **kwargs: Any) -> Any:
    short = {"limit_train_batches": 3, "max_epochs": 2}
    trainer = quiet_trainer(
        **short | {"default_root_dir": folder, "callbacks": callbacks()} | kwargs
    )
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    return trainer


@pytest.mark.parametrize("logger", ["none", "csv", "tensorboard", "csv and tensorboard"])
def test_with_any_logger(tmp_path: Path, sample: MNISTDataModule, logger: str) -> None:
    tensorboard = TensorBoardLogger(tmp_path, "tb", default_hp_metric=False)
    loggers = {
        "none": [],
        "csv": [CSVLogger(tmp_path, "csv")],
        "tensorboard": [tensorboard],
        "csv and tensorboard": [CSVLogger(tmp_path, "csv"), tensorboard],
    }[logger]
    trainer = run(MNISTClassifier(), sample, tmp_path, logger=loggers or False)
    assert pictures(trainer.log_dir) == PICTURES
    assert len(list(tmp_path.rglob("*.png"))) == len(PICTURES)
    if "tensorboard" in logger:
        found = {tag: at for tag, at in steps(tensorboard.log_dir).items() if "acc" not in tag}
        for tag in ("train/loss", "val/loss", "test/loss", "epoch"):
            del found[tag]
        assert found == {
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
        ({"limit_test_batches": 0}, set()),  # the validation images are
        ({"limit_val_batches": 0, "limit_test_batches": 0}, EVALUATED),
        ({"limit_train_batches": 0}, {"curves.png", "filters.png", "training_images.png"}),
        ({"limit_train_batches": 1, "limit_val_batches": 1, "limit_test_batches": 1}, set()),
    ],
)
def test_with_few_batches_or_none(
    tmp_path: Path, sample: MNISTDataModule, options: dict[str, int], missing: set[str]
) -> None:
    run(MNISTClassifier(), sample, tmp_path, **options)
    assert pictures(tmp_path) == PICTURES - missing


def test_with_a_model_of_another_project(tmp_path: Path, sample: MNISTDataModule) -> None:
    run(Foreign(), sample, tmp_path)
    assert pictures(tmp_path) == PICTURES - {"filters.png"}  # it has no convolution


def test_thirty_epochs_leave_nothing_behind(tmp_path: Path, sample: MNISTDataModule) -> None:
    class Memory(Callback):
        def __init__(self) -> None:
            self.resident: list[int] = []
            self.figures: list[int] = []

        def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
            if trainer.current_epoch not in (9, 19, 29):
                return
            gc.collect()
            self.figures.append(sum(type(one) is Figure for one in gc.get_objects()))
            if STATM.exists():
                self.resident.append(int(STATM.read_text().split()[1]) * resource.getpagesize())

    memory = Memory()
    run(
        MNISTClassifier(),
        sample,
        tmp_path,
        callbacks=[*callbacks(), memory],
        limit_train_batches=1,
        limit_val_batches=2,
        max_epochs=30,
    )
    assert memory.figures == [memory.figures[0]] * 3
    if memory.resident:  # the pixels of the 40 figures between would take 80 MB
        assert memory.resident[-1] - memory.resident[0] < 50e6
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_what_is_kept_does_not_grow_with_the_data(
    tmp_path: Path, sample: MNISTDataModule, drawn: list[Drawing]
) -> None:
    sizes = []
    for limit in (2, 7):
        ours = callbacks()
        trainer = quiet_trainer(
            callbacks=ours, limit_train_batches=limit, limit_val_batches=limit, max_epochs=1
        )
        trainer.fit(MNISTClassifier(), sample)
        kept = [
            tensor
            for callback in ours
            if isinstance(callback, MisclassifiedGrid | PredictionGrid | TrainingImages)
            for part in callback._kept
            for tensor in (part if isinstance(part, tuple) else (part,))
        ]
        sizes.append(sum(tensor.untyped_storage().nbytes() for tensor in kept))
    assert sizes[0] == sizes[1] < 2 * 25 * (28 * 28 * 4 + 200)


@pytest.mark.parametrize("backend", ["TkAgg", "nonsense"])
def test_on_a_headless_machine(tmp_path: Path, backend: str) -> None:
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
    if backend == "nonsense":  # matplotlib refuses it where it is imported
        backend = "module://nonsense"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=environment | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path) == {"curves.png"}


def test_one_process_lacks_something_and_none_waits(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        textwrap.dedent("""
        import torch
        from lightning.pytorch import LightningModule, Trainer
        from torch.utils.data import DataLoader, TensorDataset
        from mnist_lightning import ConfusionMatrix, MisclassifiedGrid, PredictionGrid

        class Half(LightningModule):
            def test_step(self, batch, batch_idx):
                return torch.eye(2)[batch[1]] if self.global_rank == 0 else None

        trainer = Trainer(
            accelerator="cpu", strategy="ddp", devices=2, logger=False, default_root_dir=".",
            callbacks=[ConfusionMatrix(), MisclassifiedGrid(), PredictionGrid()],
            enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        )
        data = TensorDataset(torch.rand(8, 1, 4, 4), torch.tensor([0, 1] * 4))
        model = Half()
        model.weight = torch.nn.Parameter(torch.zeros(1))
        trainer.test(model, DataLoader(data, batch_size=2), verbose=False)
        torch.distributed.destroy_process_group()  # else its threads may end after Python
        """)
    )
    execute(script)
    assert list(tmp_path.glob("*.png")) == []


def test_the_same_callbacks_in_one_run_after_another(
    tmp_path: Path, sample: MNISTDataModule, caplog: pytest.LogCaptureFixture
) -> None:
    class Break(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise RuntimeError("broken off")

    ours, short = callbacks(), {"limit_train_batches": 3, "max_epochs": 1}
    with pytest.raises(RuntimeError, match="broken off"):
        quiet_trainer(**short, default_root_dir=tmp_path / "0", callbacks=[*ours, Break()]).fit(
            MNISTClassifier(), sample
        )
    trainer = quiet_trainer(**short, default_root_dir=tmp_path / "1", callbacks=ours)
    trainer.fit(MNISTClassifier(), sample)
    trainer.test(MNISTClassifier(), sample, verbose=False)
    quiet_trainer(
        **short, default_root_dir=tmp_path / "2", callbacks=ours, limit_val_batches=0
    ).fit(MNISTClassifier(), sample)
    assert not (tmp_path / "0").exists()
    assert pictures(tmp_path / "1") == PICTURES
    assert pictures(tmp_path / "2") == {"curves.png", "filters.png", "training_images.png"}
    assert said(caplog) == []


def test_with_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        textwrap.dedent("""
        import json
        import torch
        from lightning.pytorch import Trainer, seed_everything
        from mnist_lightning import (
            ConfusionMatrix, FirstLayerFilters, LearningCurves, MisclassifiedGrid,
            MNISTClassifier, MNISTDataModule, PredictionGrid, TrainingImages,
        )
        from mnist_lightning.figures import publish
        from mnist_lightning.runs.tensorboard import EpochTensorBoardLogger

        seed_everything(0, verbose=False)
        model, confusion, mistakes = MNISTClassifier(), ConfusionMatrix(), MisclassifiedGrid()
        trainer = Trainer(
            accelerator="cpu", strategy="ddp", devices=2, max_epochs=1,
            logger=EpochTensorBoardLogger(".", "", version="run"),
            callbacks=[
                confusion, FirstLayerFilters(), LearningCurves(), mistakes, PredictionGrid(),
                TrainingImages(),
            ],
            limit_train_batches=5, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False,
        )
        written = []
        publish.write_atomically = lambda path, content: written.append((path.name, content))
        data = MNISTDataModule(source="sample")
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)
        images, labels = data.test_set.batch(torch.arange(1000))
        with torch.no_grad():
            probabilities = model.eval().predict_step(images)
        confidence, predicted = probabilities.max(dim=1)
        wrong = predicted != labels
        expected = torch.zeros(10, 10, dtype=torch.long)
        expected.index_put_((labels, predicted), torch.tensor(1), accumulate=True)
        surest = confidence[wrong].sort(descending=True).values[:25]
        # Each process has them all; its batches hold every other image only.
        assert torch.equal(confusion.matrix, expected), confusion.matrix
        assert int(mistakes._total) == int(wrong.sum())
        torch.testing.assert_close(mistakes._gathered[0], surest)
        with open(f"rank{trainer.global_rank}", "w") as file:
            json.dump([name for name, _ in written], file)
        torch.distributed.destroy_process_group()  # else its threads may end after Python
        """)
    )
    execute(script)
    assert set(json.loads((tmp_path / "rank0").read_text())) == PICTURES
    assert json.loads((tmp_path / "rank1").read_text()) == []
    assert len(list((tmp_path / "run").glob("events.*"))) == 2  # of the fit and of the test
    assert "figures/learning curves" in steps(tmp_path / "run")
