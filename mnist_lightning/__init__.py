"""The MNIST digit CNN as a PyTorch Lightning package."""

import os
from importlib.util import find_spec

# In a notebook, commands inherit a backend that may not be installed for their interpreter. Then
# matplotlib could not be imported.
_BACKEND = os.environ.get("MPLBACKEND", "").removeprefix("module://").partition(".")[0]
if _BACKEND == "matplotlib_inline" and find_spec(_BACKEND) is None:
    del os.environ["MPLBACKEND"]

# ruff: noqa: E402
from mnist_lightning.augment import LabelledTransform, PerImage, RandomDistortion
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
from mnist_lightning.handwriting import EuropeanDigits, NonDigits
from mnist_lightning.network import DigitCNN
from mnist_lightning.sweeps import run_sweep

__version__ = "0.1.0"
__all__ = [
    "ConfusionMatrix",
    "DigitCNN",
    "EpochProgress",
    "EuropeanDigits",
    "FirstLayerFilters",
    "LabelledTransform",
    "LearningCurves",
    "MNISTClassifier",
    "MNISTDataModule",
    "MisclassifiedGrid",
    "NonDigits",
    "PerImage",
    "PredictionGrid",
    "RandomDistortion",
    "SeedEveryEpoch",
    "TrainingImages",
    "run_sweep",
]
