"""The types of the package, as checked in a project that uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = '''
"""Somebody's project."""

from lightning.pytorch import Trainer
from torch import Tensor, nn

from mnist_lightning import ConfusionMatrix, DigitCNN, MNISTClassifier, MNISTDataModule


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def train(network: nn.Module | None = None) -> float:
    data = MNISTDataModule(batch_size=64, dataset="FashionMNIST")
    model = MNISTClassifier(network or Small(), learning_rate=0.01)
    trainer = Trainer(max_epochs=1, callbacks=[ConfusionMatrix(class_names=data.class_names)])
    trainer.fit(model, data)
    return float(trainer.callback_metrics["val/acc"])


def digits(paths: list[str]) -> list[int]:
    digits: list[int] = MNISTClassifier.from_pretrained().predict_images(paths).argmax(1).tolist()
    return digits


folded: DigitCNN = DigitCNN(batch_norm=True).folded()
'''


def mypy(folder: Path, code: str) -> str:
    """Returns the output of mypy for a project that uses the package."""
    (folder / "project.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder), "project.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout


def test_mypy_accepts_a_project_and_finds_each_of_its_mistakes(
    tmp_path: Path,
) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    assert "Success" in mypy(tmp_path, PROJECT)
    mistakes = (
        ("learning_rate=0.01", 'learning_rate="0.01"'),
        ('dataset="FashionMNIST"', 'dataset="CIFAR"'),
        ("predict_images(paths)", "predict_images(3)"),
        ("folded: DigitCNN", "folded: int"),
    )
    project = PROJECT
    for correct, mistake in mistakes:
        assert correct in project
        project = project.replace(correct, mistake)
    assert f"Found {len(mistakes)} errors" in mypy(tmp_path, project)
