"""Lightning callbacks. Those imported here can be used in any Trainer.

The command line adds ``run_checkpoint``, ``save_run_config``, ``resume_run``, ``stop_on_sigterm``
and ``stop_on_divergence``. The other files are base classes and helpers.
"""

from mnist_lightning.callbacks.confusion_matrix import ConfusionMatrix
from mnist_lightning.callbacks.epoch_progress import EpochProgress
from mnist_lightning.callbacks.first_layer_filters import FirstLayerFilters
from mnist_lightning.callbacks.learning_curves import LearningCurves
from mnist_lightning.callbacks.misclassified_grid import MisclassifiedGrid
from mnist_lightning.callbacks.prediction_grid import PredictionGrid
from mnist_lightning.callbacks.seed_every_epoch import SeedEveryEpoch
from mnist_lightning.callbacks.training_images import TrainingImages

__all__ = [
    "ConfusionMatrix",
    "EpochProgress",
    "FirstLayerFilters",
    "LearningCurves",
    "MisclassifiedGrid",
    "PredictionGrid",
    "SeedEveryEpoch",
    "TrainingImages",
]
