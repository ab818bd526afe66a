"""All callbacks that draw, in a fit and a test on two processes."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from drawings import FIGURE_FILES
from events import steps

pytestmark = pytest.mark.slow


def run_script(folder: Path, code: str) -> None:
    """Runs a script in its own process, because DDP starts the same command line again."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    completed = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert completed.returncode == 0, completed.stderr


def test_first_process_draws_the_results_of_both(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
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
        publish.write_atomically = lambda path, content: written.append(path.name)
        data = MNISTDataModule(source="sample")
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)

        # Both processes have the results of all images, although each tested only half of them.
        images, labels = data.test_set.batch(torch.arange(1000))
        with torch.no_grad():
            probabilities = model.eval().predict_step(images)
        confidence, predicted = probabilities.max(dim=1)
        expected = torch.zeros(10, 10, dtype=torch.long)
        expected.index_put_((labels, predicted), torch.tensor(1), accumulate=True)
        assert torch.equal(confusion.matrix, expected), confusion.matrix
        is_mistake = predicted != labels
        figure = mistakes.draw(trainer, "Test images")
        assert figure.get_suptitle() == f"Test images: {int(is_mistake.sum())} mistakes"
        highest = confidence[is_mistake].sort(descending=True).values[:25]
        captions = [text.get_text() for text in figure.axes[0].texts][:-1]
        assert [caption.split()[-1] for caption in captions] == [f"{p:.0%}" for p in highest]

        with open(f"rank{trainer.global_rank}", "w") as file:
            json.dump(written, file)
        torch.distributed.destroy_process_group()  # else its threads may end after Python
        """,
    )
    assert set(json.loads((tmp_path / "rank0").read_text())) == FIGURE_FILES
    assert json.loads((tmp_path / "rank1").read_text()) == []
    assert len(list((tmp_path / "run").glob("events.*"))) == 2  # of the fit and of the test
    assert "figures/learning curves" in steps(tmp_path / "run")


def test_no_process_waits_if_one_has_no_logits(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        import torch
        from lightning.pytorch import LightningModule, Trainer
        from torch.utils.data import DataLoader, TensorDataset
        from mnist_lightning import ConfusionMatrix, MisclassifiedGrid, PredictionGrid

        class LogitsOnFirstProcess(LightningModule):
            def test_step(self, batch, batch_idx):
                return torch.eye(2)[batch[1]] if self.global_rank == 0 else None

        trainer = Trainer(
            accelerator="cpu", strategy="ddp", devices=2, logger=False, default_root_dir=".",
            callbacks=[ConfusionMatrix(), MisclassifiedGrid(), PredictionGrid()],
            enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        )
        data = TensorDataset(torch.rand(8, 1, 4, 4), torch.tensor([0, 1] * 4))
        model = LogitsOnFirstProcess()
        model.weight = torch.nn.Parameter(torch.zeros(1))
        trainer.test(model, DataLoader(data, batch_size=2), verbose=False)
        torch.distributed.destroy_process_group()  # else its threads may end after Python
        """,
    )
    assert list(tmp_path.glob("*.png")) == []
