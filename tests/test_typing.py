"""The types that other projects see."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    """Returns what mypy says of a project with the package installed."""
    (folder / "project.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder), "project.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout


def test_a_project_that_uses_the_package_is_typed_and_its_mistakes_are_found(
    tmp_path: Path,
) -> None:
    pytest.importorskip("mypy", reason="mypy is not there")
    assert "Success" in mypy(tmp_path, PROJECT)
    wrong = (
        ("learning_rate=0.01", 'learning_rate="0.01"'),
        ('dataset="FashionMNIST"', 'dataset="CIFAR"'),
        ("predict_images(paths)", "predict_images(3)"),
        ("folded: DigitCNN", "folded: int"),
    )
    every = PROJECT
    for right, mistake in wrong:
        assert right in every
        every = every.replace(right, mistake)
    assert f"Found {len(wrong)} errors" in mypy(tmp_path, every)
