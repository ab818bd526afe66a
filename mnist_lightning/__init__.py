"""The MNIST digit CNN as a PyTorch Lightning package."""

from mnist_lightning.callbacks import LearningCurves, PredictionGrid
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.network import DigitCNN

__version__ = "0.1.0"
__all__ = ["DigitCNN", "LearningCurves", "MNISTClassifier", "MNISTDataModule", "PredictionGrid"]
