"""Parts of this package in projects that follow well-known templates, and the reverse."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import FIGURE_FILES, Drawing, mosaic
from foreign import TwoLayers, loader
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from trainers import quiet_trainer

from mnist_lightning import (
    ConfusionMatrix,
    FirstLayerFilters,
    LearningCurves,
    MisclassifiedGrid,
    MNISTClassifier,
    MNISTDataModule,
    PredictionGrid,
    RandomDistortion,
    SeedEveryEpoch,
    TrainingImages,
)

CONFIG: dict[str, Any] = {
    "data": {"source": "sample", "batch_size": 64, "val_fraction": 0.1},
    "model": {"hidden": 16, "lr": 0.05, "gamma": 0.9},
    "trainer": {"max_epochs": 2, "limit_train_batches": 4, "log_every_n_steps": 1},
}
MEAN, STANDARD_DEVIATION = 0.1307, 0.3081  # of MNIST's pixels


class ConfigModule(LightningModule):
    """Is configured by a dict, normalizes batches, logs every step, returns log-probabilities."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(config)
        self.l1 = nn.Linear(784, config["hidden"])
        self.l2 = nn.Linear(config["hidden"], 10)
        self.minima: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        """Returns log-probabilities."""
        self.minima.append(float(x.min()))
        logits: Tensor = self.l2(self.l1(x.flatten(1)).relu())
        return logits.log_softmax(dim=1)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        return (x - MEAN) / STANDARD_DEVIATION, y

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        x, y = batch
        logp = self(x)
        loss = nn.functional.nll_loss(logp, y)
        acc = (logp.argmax(1) == y).float().mean()
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True, logger=True)
        self.log("train_acc", acc, on_step=True, on_epoch=True)
        return {"loss": loss, "log": {"train_loss": loss.detach()}}

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        x, y = batch
        logp = self(x)
        values = {
            "val_loss": nn.functional.nll_loss(logp, y),
            "val_acc": (logp.argmax(1) == y).float().mean(),
        }
        self.log_dict(values, prog_bar=True)
        return values

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, self.hparams["gamma"])
        return [optimizer], [{"scheduler": schedule, "interval": "epoch"}]


class ComponentModule(LightningModule):
    """Has network and optimizer as arguments, uses torchmetrics, returns nothing in evaluation."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["net", "optimizer"])
        self.net = net
        self.optimizer = optimizer
        self.criterion = nn.CrossEntropyLoss()
        self.train_loss, self.val_loss, self.test_loss = (MeanMetric() for _ in range(3))
        self.train_acc, self.val_acc, self.test_acc = (MulticlassAccuracy(10) for _ in range(3))
        self.val_acc_best = MaxMetric()

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits."""
        logits: Tensor = self.net((x - MEAN) / STANDARD_DEVIATION)
        return logits

    def on_train_start(self) -> None:
        self.val_loss.reset()
        self.val_acc.reset()
        self.val_acc_best.reset()

    def model_step(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        x, y = batch
        logits = self.forward(x)
        return self.criterion(logits, y), logits.argmax(dim=1), y

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss, preds, targets = self.model_step(batch)
        self.train_loss(loss)
        self.train_acc(preds, targets)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss, preds, targets = self.model_step(batch)
        self.val_loss(loss)
        self.val_acc(preds, targets)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("val/acc", self.val_acc, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        loss, preds, targets = self.model_step(batch)
        self.test_loss(loss)
        self.test_acc(preds, targets)
        self.log("test/loss", self.test_loss, on_step=False, on_epoch=True)
        self.log("test/acc", self.test_acc, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(params=self.parameters())
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min")
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss", "frequency": 1},
        }


class RandomImages(Dataset[tuple[Tensor, int]]):
    """Returns one normalized image and its label as an int, like torchvision's data sets."""

    def __init__(self, length: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.randint(10, (length,), generator=generator)
        self.images = torch.rand(length, 1, 28, 28, generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return (self.images[index] - MEAN) / STANDARD_DEVIATION, int(self.labels[index])


class ForeignDataModule(LightningDataModule):
    """Normalizes, splits and collates; its ``class_names`` and ``dataset_name`` are methods."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__()
        self.save_hyperparameters()

    def class_names(self) -> list[str]:
        return [f"kind {index}" for index in range(10)]

    def dataset_name(self) -> str:
        return "random images"

    def setup(self, stage: str) -> None:
        self.train, self.val = random_split(RandomImages(120), [80, 40])

    def _loader(self, dataset: Dataset[Any], shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(dataset, batch_size=self.hparams["batch_size"], shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.val)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(RandomImages(50))

    predict_dataloader = test_dataloader


def small_cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 24 * 24, 10))


MODELS: dict[str, Callable[[], LightningModule]] = {
    "dict": lambda: ConfigModule(CONFIG["model"]),
    "components": lambda: ComponentModule(small_cnn(), partial(torch.optim.Adam, lr=1e-3)),
}


def trainer_for(folder: Path, curves: LearningCurves, epochs: int = 2) -> Trainer:
    callbacks = [
        curves,
        ConfusionMatrix(),
        FirstLayerFilters(),
        MisclassifiedGrid(),
        PredictionGrid(),
        SeedEveryEpoch(),
        TrainingImages(),
        ModelCheckpoint(folder / "checkpoints", save_last=True),
    ]
    options = CONFIG["trainer"] | {"max_epochs": epochs}
    return quiet_trainer(
        **options,
        callbacks=callbacks,
        logger=CSVLogger(folder, "csv"),
        enable_checkpointing=True,
        accelerator="cpu",
    )


def assert_same_weights(actual: LightningModule, expected: LightningModule) -> None:
    expected_weights = expected.state_dict()
    for name, weights in actual.state_dict().items():
        assert torch.equal(weights, expected_weights[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("style", MODELS)
@pytest.mark.filterwarnings("ignore:You have overridden .on_after_batch_transfer. in .LightningM")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_data_module_and_callbacks_support_a_foreign_module(style: str, tmp_path: Path) -> None:
    separator = "_" if style == "dict" else "/"
    names: list[tuple[str, str]] = [
        (f"train{separator}{metric}", f"val{separator}{metric}") for metric in ("loss", "acc")
    ]
    for epochs in (2, 3):  # the second fit resumes the first
        curves = LearningCurves(*names)
        model, data = MODELS[style](), MNISTDataModule(**CONFIG["data"])
        checkpoint = tmp_path / "checkpoints" / "last.ckpt" if epochs == 3 else None
        trainer = trainer_for(tmp_path, curves, epochs)
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        trainer.test(model, data, verbose=False)
        assert [len(values) for values in curves.history.values()] == [epochs] * 4
        file_names = {path.name for path in Path(str(trainer.log_dir)).glob("*.png")}
        assert file_names == FIGURE_FILES - ({"filters.png"} if style == "dict" else set())
    if isinstance(model, ConfigModule):  # its hook has normalized all batches
        assert max(model.minima) == pytest.approx(-MEAN / STANDARD_DEVIATION)


@pytest.mark.filterwarnings("ignore:You have overridden .on_after_batch_transfer. in .LightningM")
def test_augmentation_precedes_the_normalization_of_a_foreign_module(tmp_path: Path) -> None:
    data = MNISTDataModule(**CONFIG["data"], augment=RandomDistortion(stroke=1.0, rotation=20.0))
    model = ConfigModule(CONFIG["model"])
    trainer_for(tmp_path, LearningCurves()).fit(model, data)
    assert max(model.minima) == pytest.approx(-MEAN / STANDARD_DEVIATION)
    unaugmented = {image.numpy().tobytes() for image in data.train_set.images.float() / 255}
    images, _ = next(iter(data.train_dataloader()))
    assert not unaugmented & {image.numpy().tobytes() for image in images}


def test_classifier_supports_a_foreign_data_module(tmp_path: Path, drawn: list[Drawing]) -> None:
    torch.manual_seed(0)
    model, data = MNISTClassifier(), ForeignDataModule()
    trainer = trainer_for(tmp_path, LearningCurves())
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert {drawing.name + ".png" for drawing in drawn} == FIGURE_FILES
    titles = {drawing.title.partition(":")[0] for drawing in drawn if drawing.name == "predictions"}
    assert titles == {"Validation images", "Test images"}  # its dataset_name is not a string
    tested = next(drawing for drawing in drawn if drawing.tag == "predictions, test")
    assert mosaic(tested.figure).min() == 0  # normalized images are rescaled
    probabilities = torch.cat(trainer.predict(model, data))  # type: ignore[arg-type]
    assert probabilities.shape == (50, 10)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(50))
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    loaded = MNISTClassifier.load_from_checkpoint(checkpoint, weights_only=True)
    assert_same_weights(loaded, model)


def test_classifier_ignores_further_parts_of_a_batch() -> None:
    batches = loader(torch.rand(8, 1, 28, 28), torch.arange(8), torch.ones(8))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(MNISTClassifier(), batches, batches)
    assert {"train/loss", "val/acc"} <= trainer.callback_metrics.keys()


@pytest.fixture
def command_line(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that sets the arguments of a foreign LightningCLI."""
    options = CONFIG["trainer"] | {"max_epochs": 1, "accelerator": "cpu"}
    common = [f"--trainer.{name}={value}" for name, value in options.items()]
    common += ["--trainer.enable_progress_bar=false"]
    return lambda *args: monkeypatch.setattr(sys, "argv", ["train.py", "fit", *args, *common])


@pytest.mark.filterwarnings("ignore:No seed found")
def test_foreign_command_line_trains_on_our_data_module(
    command_line: Callable[..., None], workdir: Path
) -> None:
    command_line(
        "--data.source=sample",
        "--model.net=foreign.TwoLayers",
        "--model.net.hidden=8",
        "--trainer.callbacks=mnist_lightning.LearningCurves",
        "--trainer.callbacks+=mnist_lightning.ConfusionMatrix",
    )
    cli = LightningCLI(ComponentModule, MNISTDataModule)
    assert "val/acc" in cli.trainer.callback_metrics
    (folder,) = (workdir / "lightning_logs").iterdir()
    assert {path.name for path in folder.glob("*.png")} == {"curves.png", "confusion_matrix.png"}
    (checkpoint,) = folder.glob("checkpoints/*.ckpt")
    model = ComponentModule.load_from_checkpoint(checkpoint, weights_only=True, net=TwoLayers(8))
    assert_same_weights(model, cli.model)
    data = MNISTDataModule.load_from_checkpoint(checkpoint, weights_only=True)
    assert data.hparams["source"] == "sample"


@pytest.mark.filterwarnings("ignore:No seed found", "ignore:.*configure_optimizers. will be over")
def test_foreign_command_line_trains_our_classifier(
    command_line: Callable[..., None], workdir: Path
) -> None:
    command_line(
        "--model=mnist_lightning.MNISTClassifier",
        "--model.learning_rate=0.01",
        "--model.network=foreign.TwoLayers",
        "--model.network.hidden=8",
        "--data=test_reuse.ForeignDataModule",
        "--optimizer=SGD",
        "--optimizer.lr=0.1",
    )
    cli = LightningCLI()
    assert isinstance(cli.trainer.optimizers[0], torch.optim.SGD)
    assert "val/acc" in cli.trainer.callback_metrics
    (checkpoint,) = (workdir / "lightning_logs").rglob("*.ckpt")
    network = TwoLayers(8)
    loaded = MNISTClassifier.load_from_checkpoint(checkpoint, weights_only=True, network=network)
    assert loaded.learning_rate == 0.01
    assert_same_weights(loaded, cli.model)


@pytest.mark.slow
def test_a_backend_of_a_notebook_that_is_not_installed_is_ignored() -> None:
    """Jupyter sets the variable, and commands in a cell may have another interpreter."""
    script = """
        import importlib.util, os
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *args: (
            None if name == "matplotlib_inline" else find_spec(name, *args)
        )
        import mnist_lightning
        print("MPLBACKEND" in os.environ)
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["False"]
