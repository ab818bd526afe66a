"""Training, validating, testing and predicting with a network that maps images to class logits."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MetricCollection
from typing_extensions import override

from mnist_lightning.errors import DivergedError, check_choice, check_module, check_number
from mnist_lightning.metrics import MeanOverImages
from mnist_lightning.network import DigitCNN, check_arguments
from mnist_lightning.pictures import normalize, reading
from mnist_lightning.pictures.normalize import UnreadablePictureError
from mnist_lightning.pretrained import keras
from mnist_lightning.runs import checkpoints
from mnist_lightning.sam import SharpnessAwareAdamW


class MNISTClassifier(LightningModule):
    """An image classifier that trains by cross-entropy with Adam and Keras's defaults.

    Logs ``train/loss``, ``train/acc``, ``val/loss``, ``val/acc`` (once an epoch), ``test/loss`` and
    ``test/acc``: cross-entropy in nats and accuracy in [0, 1], means over images.

    Keras adds Adam's epsilon (1e-7 here as there) before it corrects the second moment's bias,
    PyTorch after it: to take Keras's steps exactly, divide it by ``sqrt(1 - 0.999 ** step)``.

    Args:
        network: Maps images ``(N, C, H, W)`` to logits ``(N, num_classes)``; default: ``DigitCNN``.
        learning_rate: Step size of Adam.
        schedule: ``constant``, or ``one_cycle``: over the whole training the step size rises to
            ``learning_rate`` and falls to nothing (Smith and Topin, 2018); that needs fewer epochs.
        label_smoothing: Part of each training label that is spread over all classes (Szegedy and
            others, 2016): more images are right, with less certainty.
        compile: Whether ``torch.compile`` makes the network's kernels for the training; on a GPU it
            then runs as CUDA graphs. Takes a minute, and on the CPU it is not faster.
        dropout: Probability that a value before the last layer is dropped; for the default network.
        num_classes: Number of classes.
        batch_norm: Whether the default network normalises its hidden values over each batch while
            training; ``network.folded()`` then gives the plain network with the same outputs.
        weight_decay: Part of each weight that is taken off, times the step size, in each step,
            apart from Adam (AdamW; Loshchilov and Hutter, 2019).
        sam_radius: How far around the weights the loss is to be low too (``SharpnessAwareAdamW``);
            0 leaves that out. Finds more accurate weights, in twice the time.

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
        compile: bool = False,
        batch_norm: bool = False,
        weight_decay: float = 0.0,
        sam_radius: float = 0.0,
    ) -> None:
        super().__init__()
        check_arguments(dropout, num_classes)  # also where another network is given
        check_module("network", network, "maps images to class logits")
        check_number("learning_rate", learning_rate, above=0, hint="the default is 0.001")
        check_choice("schedule", schedule, ("constant", "one_cycle"))
        check_number("label_smoothing", label_smoothing, at_least=0, below=1, hint="0 disables it")
        check_number("weight_decay", weight_decay, at_least=0, hint="0 disables it")
        check_number("sam_radius", sam_radius, at_least=0, hint="0 disables it")
        # NumPy's numbers could not be read from a checkpoint again.
        learning_rate = float(learning_rate)
        self.save_hyperparameters(ignore=["network"])
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.weight_decay = weight_decay
        self.sam_radius = sam_radius
        self.compiles = compile
        self.num_classes = num_classes
        if network is None:
            network = DigitCNN(dropout, num_classes, batch_norm)
            self.example_input_array = torch.zeros(1, 1, 28, 28)
        self.network = network
        metrics = MetricCollection({"loss": MeanOverImages(), "acc": MeanOverImages()})
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")

    @classmethod
    def from_pretrained(cls, **arguments: Any) -> Self:
        """Returns a model with the weights that come with the package; needs no network.

        ``mnist_lightning/pretrained/README.md`` tells how they were made and how good they are. As
        any module it starts in training mode, so call ``eval`` before you use it by hand.

        Args:
            **arguments: Those of the constructor, for a training that goes on from them.

        Raises:
            CheckpointError: If the file with the weights is missing or damaged.
        """
        checkpoint = checkpoints.pretrained()
        model = cls(**{"dropout": checkpoint["hyper_parameters"]["dropout"], **arguments})
        model.load_state_dict(checkpoint["state_dict"])
        return model

    @classmethod
    def from_keras(cls, path: str | Path, **arguments: Any) -> Self:
        """Returns a model with the weights of the notebook's model in Keras; needs ``h5py``.

        As any module it starts in training mode, so call ``eval`` before you use it by hand.

        Args:
            path: What Keras saved: ``.keras``, or the weights alone (``.weights.h5``). Nothing in
                it is run.
            **arguments: Those of the constructor; ``dropout`` is the file's, where it tells.

        Raises:
            CheckpointError: If the file cannot be read or is of another network.
        """
        weights, dropout = keras.read(Path(path))
        if dropout is not None:
            arguments = {"dropout": dropout, **arguments}
        model = cls(**arguments)
        model.network.load_state_dict(weights)
        return model

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        logits: Tensor = self.network(images)
        return logits

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes 44 times a step which hook runs; Module would look for parameters in it.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    # Metrics begin afresh also where an earlier epoch was broken off, or ran in inference mode.

    @override
    def on_train_epoch_start(self) -> None:
        self.train_metrics.reset()

    @override
    def on_validation_epoch_start(self) -> None:
        self.val_metrics.reset()

    @override
    def on_test_epoch_start(self) -> None:
        self.test_metrics.reset()

    @override
    def on_train_epoch_end(self) -> None:
        # Before a checkpoint of this epoch is written.
        metrics = self.trainer.callback_metrics
        for name in ("train/loss", "val/loss"):
            if name in metrics and not metrics[name].isfinite():
                self._diverged(f"{name} is {metrics[name]:g}")
        if not all(bool(weights.isfinite().all()) for weights in self.parameters()):
            self._diverged("the weights are no finite numbers")

    def _diverged(self, what: str) -> NoReturn:
        raise DivergedError(
            f"{what} in epoch {self.trainer.current_epoch + 1}: most likely the learning rate of "
            f"{self.learning_rate:g} is too high, or images or labels are damaged; the checkpoint "
            "of the epoch before is whole"
        )

    @override
    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        # Elsewhere than at the weights themselves, nothing is measured.
        optimizer = self.optimizers(use_pl_optimizer=False) if self.sam_radius else None
        climbed = isinstance(optimizer, SharpnessAwareAdamW) and optimizer.is_perturbed
        metrics = None if climbed else self.train_metrics
        loss, _ = self._step(batch, metrics, self.label_smoothing)
        return loss

    @override
    def validation_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the logits ``(N, num_classes)``, so that callbacks need not run the model."""
        _, logits = self._step(batch, self.val_metrics)
        return logits

    @override
    def test_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the logits ``(N, num_classes)``, so that callbacks need not run the model."""
        _, logits = self._step(batch, self.test_metrics)
        return logits

    @override
    def predict_step(self, batch: Tensor | tuple[Tensor, Tensor] | list[Tensor]) -> Tensor:
        """Maps images, or a batch that begins with them, to probabilities ``(N, num_classes)``."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities: Tensor = self(images).softmax(dim=1)
        return probabilities

    @torch.inference_mode()
    def predict_images(self, images: Iterable[str | Path | Image.Image]) -> Tensor:
        """Predicts pictures of digits, each of which is brought into MNIST's form before.

        Args:
            images: Files, or pictures that Pillow has opened; of several frames the first counts.

        Returns:
            Probabilities ``(N, num_classes)``, one row an image.

        Raises:
            UnreadablePictureError: If one cannot be read or shows no digit; names it.

        Example:
            >>> from PIL import Image, ImageDraw
            >>> paper = Image.new("RGB", (300, 200), "ivory")
            >>> ImageDraw.Draw(paper).line([(150, 40), (140, 160)], "navy", width=12)
            >>> MNISTClassifier.from_pretrained().predict_images([paper]).argmax(dim=1)
            tensor([1])
        """
        inputs = [torch.zeros(0, 1, normalize.SIZE, normalize.SIZE)]
        for image in images:
            name, picture = (
                ("the picture", image)
                if isinstance(image, Image.Image)
                else next(reading.read_pictures(Path(image)))
            )
            try:
                if isinstance(picture, UnreadablePictureError):
                    raise picture
                inputs.append(normalize.to_digit(picture).unsqueeze(0))
            except UnreadablePictureError as error:
                raise UnreadablePictureError(f"{name} {error}") from error
        training = self.training
        probabilities: Tensor = self.eval().predict_step(torch.cat(inputs).to(self.device))
        self.train(training)
        return probabilities

    @override
    def configure_optimizers(self) -> Optimizer | OptimizerLRSchedulerConfig:
        options: dict[str, Any] = {
            "lr": self.learning_rate,
            "eps": 1e-7,
            "weight_decay": self.weight_decay,
            "fused": True,
        }
        optimizer: AdamW | SharpnessAwareAdamW
        if self.sam_radius:
            optimizer = SharpnessAwareAdamW(self.parameters(), self.sam_radius, **options)
        else:
            optimizer = AdamW(self.parameters(), **options)
        if self.schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < math.inf:
            raise MisconfigurationException(
                "the one_cycle schedule needs to know its length; set --trainer.max_epochs"
            )
        cycle = OneCycleLR(optimizer, self.learning_rate, total_steps=int(steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": LRSchedulerConfigType(scheduler=cycle, interval="step"),
        }

    @override
    def on_train_start(self) -> None:
        cycle = self.lr_schedulers()
        steps = self.trainer.estimated_stepping_batches
        if isinstance(cycle, OneCycleLR) and cycle.total_steps != steps:
            raise MisconfigurationException(
                f"a run with the one_cycle schedule has one length, here {cycle.total_steps} steps "
                f"and not {steps:g}; go on with the options with which it began"
            )
        if self.compiles:  # not before TensorBoard's graph is traced
            self.network.compile(mode="reduce-overhead", dynamic=False)

    def _step(
        self,
        batch: tuple[Tensor, Tensor],
        metrics: MetricCollection | None,
        smoothing: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        try:
            images, labels = batch[:2]
        except (KeyError, TypeError) as error:
            kind = type(batch).__name__
            raise TypeError(f"a batch must begin with images and labels; it is a {kind}") from error
        logits = self(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if metrics is not None:
            metrics["loss"].update(loss.detach() * len(labels), len(labels))
            metrics["acc"].update((logits.detach().argmax(dim=1) == labels).sum(), len(labels))
            if metrics["loss"].update_count == 1:  # once: Lightning computes it when the epoch ends
                self.log_dict(metrics, on_step=False, on_epoch=True)
        return loss, logits
