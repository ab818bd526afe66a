"""Lightning callbacks, usable in any Trainer."""

from mnist_lightning.callbacks.epoch_progress import EpochProgress
from mnist_lightning.callbacks.learning_curves import LearningCurves
from mnist_lightning.callbacks.prediction_grid import PredictionGrid

__all__ = ["EpochProgress", "LearningCurves", "PredictionGrid"]
