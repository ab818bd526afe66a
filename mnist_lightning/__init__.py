"""The MNIST digit CNN as a PyTorch Lightning package."""

from mnist_lightning.augment import PerImage, RandomDistortion
from mnist_lightning.callbacks import (
    ConfusionMatrix,
    EpochProgress,
    FirstLayerFilters,
    LearningCurves,
    MisclassifiedGrid,
    PredictionGrid,
    SeedEveryEpoch,
    TrainingImages,
)
from mnist_lightning.classifier import MNISTClassifier
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.network import DigitCNN

__version__ = "0.1.0"
__all__ = [
    "ConfusionMatrix",
    "DigitCNN",
    "EpochProgress",
    "FirstLayerFilters",
    "LearningCurves",
    "MNISTClassifier",
    "MNISTDataModule",
    "MisclassifiedGrid",
    "PerImage",
    "PredictionGrid",
    "RandomDistortion",
    "SeedEveryEpoch",
    "TrainingImages",
]
