"""Trains, validates, tests and predicts with a network that maps images to class logits.

Lightning calls, in this order: ``setup``, ``configure_optimizers`` and ``on_train_start``; for each
epoch ``training_step`` for each training batch and ``validation_step`` for each validation batch;
``test_step`` and ``predict_step`` for each batch of a test or a prediction.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MetricCollection
from typing_extensions import override

from mnist_lightning.cuda_graph import CUDAGraphModule
from mnist_lightning.errors import check_choice, check_module, check_number
from mnist_lightning.metrics import MeanOverImages
from mnist_lightning.network import DigitCNN
from mnist_lightning.pictures.digits import load_digits, predict_digits, read_numbers
from mnist_lightning.pictures.reading import Source
from mnist_lightning.pretrained.keras import read_keras
from mnist_lightning.runs.weights import read_pretrained
from mnist_lightning.sam import SharpnessAwareAdamW, is_perturbed

Batch = tuple[Tensor, Tensor]


class MNISTClassifier(CUDAGraphModule):
    """An image classifier that minimizes cross-entropy with Adam at Keras's default settings.

    Logs ``train/loss``, ``train/acc``, ``val/loss``, ``val/acc``, ``test/loss`` and ``test/acc``
    once per epoch: cross-entropy in nats and accuracy in [0, 1], means over images. Only
    ``train/loss`` includes label smoothing.

    Args:
        network: Maps images ``(N, C, H, W)`` to logits ``(N, num_classes)``; default: ``DigitCNN``.
        learning_rate: Step size of Adam.
        dropout: Dropout probability of the default network.
        num_classes: Number of classes; a network of your own must have as many logits. The command
            line uses the number of classes of the data by default.
        schedule: ``constant``, or ``one_cycle``: the step size rises to ``learning_rate`` and falls
            to almost zero over the run, and the momentum falls and rises (Smith and Topin, 2018);
            this needs fewer epochs.
        label_smoothing: Fraction of each training label that is spread evenly over all classes
            (Szegedy et al., 2016), which increases accuracy and lowers confidence.
        cuda_graph: Whether a GPU computes the loss and the gradients of each training step by
            replaying a CUDA graph, which is several times as fast (``CUDAGraphModule``). The
            network must not read values back. It has no effect on a CPU.
        batch_norm: Whether the default network uses batch normalization during training;
            ``network.folded()`` returns an equivalent network without it.
        weight_decay: Decoupled weight decay (AdamW; Loshchilov and Hutter, 2019).
        sam_radius: Neighbourhood radius of sharpness-aware minimization (``SharpnessAwareAdamW``);
            0 disables it. Usually more accurate, at twice the training time.

    Raises:
        InvalidArgumentError: If an argument is out of range.

    Example:
        >>> model = MNISTClassifier(learning_rate=0.01)
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        network: nn.Module | None = None,
        learning_rate: float = 1e-3,
        dropout: float = 0.2,
        num_classes: int = 10,
        schedule: Literal["constant", "one_cycle"] = "constant",
        label_smoothing: float = 0.0,
        cuda_graph: bool = False,
        batch_norm: bool = False,
        weight_decay: float = 0.0,
        sam_radius: float = 0.0,
    ) -> None:
        super().__init__()
        check_number("learning_rate", learning_rate, above=0, hint="the default is 0.001")
        check_choice("schedule", schedule, ("constant", "one_cycle"))
        check_number("label_smoothing", label_smoothing, at_least=0, below=1, hint="0 disables it")
        check_number("weight_decay", weight_decay, at_least=0, hint="0 disables it")
        check_number("sam_radius", sam_radius, at_least=0, hint="0 disables it")
        # Lightning's LearningRateFinder sets a NumPy number, which checkpoints must not contain.
        learning_rate = float(learning_rate)
        self.save_hyperparameters(ignore=["network"])
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.cuda_graph = cuda_graph
        self.weight_decay = weight_decay
        self.sam_radius = sam_radius
        self.num_classes = num_classes
        if network is None:
            network = DigitCNN(dropout, num_classes, batch_norm)
            self.example_input_array = torch.zeros(1, 1, 28, 28)  # for TensorBoard's graph
        check_module("network", network, "maps images to class logits")
        self.network = network
        metrics = MetricCollection({"loss": MeanOverImages(), "acc": MeanOverImages()})
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``(N, C, H, W)`` to logits ``(N, num_classes)``, at least float32.

        In half precision, losses and probabilities would have only two or three correct digits.
        """
        logits: Tensor = self.network(images)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @override
    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Loads weights; an error describes how to pass another network.

        Raises:
            RuntimeError: If they do not match the network.
        """
        try:
            return super().load_state_dict(state_dict, *args, **kwargs)
        except RuntimeError as error:
            name, hint = type(self.network).__name__, "pass the network that was trained"
            raise RuntimeError(f"the weights do not match {name}; {hint}: network=...") from error

    @override
    def setup(self, stage: str) -> None:
        """Resets the metrics, because an interrupted epoch leaves partial sums in them."""
        for metrics in (self.train_metrics, self.val_metrics, self.test_metrics):
            metrics.reset()

    @override
    def configure_optimizers(self) -> Optimizer | OptimizerLRSchedulerConfig:
        """Returns AdamW, which without weight decay is Adam, and the schedule if there is one.

        Epsilon is Keras's. Keras adds it before it corrects the bias of the second moment, PyTorch
        after it; ``1e-7 / sqrt(1 - 0.999**step)`` would reproduce Keras's steps exactly.
        """
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        # In mixed precision, Lightning does not clip gradients for fused optimizers.
        is_mixed = self._trainer is not None and "mixed" in self._trainer.precision
        options |= {"eps": 1e-7, "fused": not is_mixed}
        optimizer = AdamW(self.parameters(), **options)
        if self.sam_radius:
            optimizer = SharpnessAwareAdamW(self.parameters(), self.sam_radius, **options)
        if self.schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < math.inf:
            raise MisconfigurationException(
                "the one_cycle schedule needs a run of known length; set --trainer.max_epochs"
            )
        schedule = OneCycleLR(optimizer, self.learning_rate, total_steps=int(steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": LRSchedulerConfigType(scheduler=schedule, interval="step"),
        }

    @override
    def training_step(self, batch: Batch) -> Tensor:
        images, labels = batch[:2]
        loss, logits = self.compute_or_replay(images, labels)
        # Sharpness-aware minimization runs this step a second time, at a neighbour of the weights.
        if not is_perturbed(self):
            self._log_metrics(self.train_metrics, loss, logits, labels)
        return loss

    @override
    def compute(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the training loss and the logits ``(N, num_classes)``."""
        logits = self(images)
        return self.loss(logits, labels), logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the training loss; override this method to train with another one."""
        return cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    @override
    def validation_step(self, batch: Batch) -> Tensor:
        """Returns the logits ``(N, num_classes)``, which spares callbacks a second forward pass."""
        return self._evaluation_step(batch, self.val_metrics)

    @override
    def test_step(self, batch: Batch) -> Tensor:
        """Returns the logits ``(N, num_classes)``, which spares callbacks a second forward pass."""
        return self._evaluation_step(batch, self.test_metrics)

    @override
    def predict_step(self, batch: Tensor | Batch | list[Tensor]) -> Tensor:
        """Maps images, or a batch starting with images, to probabilities ``(N, num_classes)``."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities: Tensor = self(images).softmax(dim=1)
        return probabilities

    def _evaluation_step(self, batch: Batch, metrics: MetricCollection) -> Tensor:
        images, labels = batch[:2]
        logits: Tensor = self(images)
        self._log_metrics(metrics, cross_entropy(logits, labels), logits, labels)
        return logits

    def _log_metrics(
        self, metrics: MetricCollection, loss: Tensor, logits: Tensor, labels: Tensor
    ) -> None:
        metrics["loss"].update(loss.detach() * len(labels), len(labels))
        classes = labels if labels.dim() == 1 else labels.argmax(dim=1)  # of probabilities
        metrics["acc"].update((logits.detach().argmax(dim=1) == classes).sum(), len(labels))
        # Usually, each step logs. Once per epoch is enough, because Lightning keeps the metrics and
        # computes them at its end, and saves 14 % of the time of a default fit.
        if metrics["loss"].update_count == 1:
            self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=True)

    def predict_images(self, images: Source | Iterable[Source]) -> Tensor:
        """Predicts your own pictures of one digit each, after converting them to MNIST's format.

        Args:
            images: A file or a picture opened with Pillow, or several of them; only the first frame
                of a file is used.

        Returns:
            Probabilities ``(N, num_classes)``, one row per picture. Each is the mean over three
            sizes of the digit; below 0.9, the highest one should be considered unsure.

        Raises:
            UnreadablePictureError: If a picture cannot be read or shows no digit.

        Example:
            >>> from PIL import Image, ImageDraw
            >>> paper = Image.new("RGB", (300, 200), "ivory")
            >>> ImageDraw.Draw(paper).line([(150, 40), (140, 160)], "navy", width=12)
            >>> MNISTClassifier.from_pretrained().predict_images([paper]).argmax(dim=1)
            tensor([1])
        """
        return predict_digits(self, load_digits(images))

    def predict_numbers(self, images: Source | Iterable[Source]) -> list[str]:
        """Reads your own pictures of numbers, digit by digit.

        Args:
            images: As in ``predict_images``.

        Returns:
            The digits in each picture, from left to right; lines are separated by a slash.

        Raises:
            UnreadablePictureError: If a picture cannot be read or shows no digit.
        """
        return read_numbers(self, images)

    @classmethod
    def from_pretrained(cls, **arguments: Any) -> Self:
        """Returns a model with the weights shipped with the package, in training mode.

        Their model card is ``mnist_lightning/pretrained/README.md``.

        Args:
            **arguments: Arguments of the constructor, for further training.

        Raises:
            CheckpointError: If the file with the weights is missing or damaged.
        """
        checkpoint = read_pretrained()
        model = cls(**{"dropout": checkpoint["hyper_parameters"]["dropout"], **arguments})
        model.load_state_dict(checkpoint["state_dict"])
        return model

    @classmethod
    def from_keras(cls, path: str | Path, **arguments: Any) -> Self:
        """Returns a model with the weights of the Keras notebook's model, in training mode.

        Requires ``h5py``.

        Args:
            path: A file saved by Keras: ``.keras``, or ``.weights.h5`` with the weights alone. No
                code in it is executed.
            **arguments: Arguments of the constructor; ``dropout`` defaults to that of the file.

        Raises:
            CheckpointError: If the file cannot be read or contains another network.
        """
        weights, file_arguments = read_keras(Path(path))
        model = cls(**{**file_arguments, **arguments})
        model.network.load_state_dict(weights)
        return model
