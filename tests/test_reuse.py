"""Our parts in projects that were not written for them, in the style of well-known templates."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawings import PICTURES, Drawing
from foreign import TwoLayers
from foreign import loader as batches
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
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels


class ConfigModule(LightningModule):
    """Takes a dictionary, normalises batches itself, logs each step, gives logarithms."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(config)
        self.l1 = nn.Linear(784, config["hidden"])
        self.l2 = nn.Linear(config["hidden"], 10)
        self.darkest: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        """Gives logarithms of probabilities."""
        self.darkest.append(float(x.min()))
        logits: Tensor = self.l2(self.l1(x.flatten(1)).relu())
        return logits.log_softmax(dim=1)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        return (x - MEAN) / DEVIATION, y

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
    """Is given its parts, counts with torchmetrics, returns nothing when it evaluates."""

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
        """Gives logits."""
        logits: Tensor = self.net((x - MEAN) / DEVIATION)
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


class Pixels(Dataset[tuple[Tensor, int]]):
    """One normalised image at a time, and its label as a number, as torchvision's data sets."""

    def __init__(self, number: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.randint(10, (number,), generator=generator)
        self.images = torch.rand(number, 1, 28, 28, generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return (self.images[index] - MEAN) / DEVIATION, int(self.labels[index])


class TheirDataModule(LightningDataModule):
    """Normalises, splits at random, collates by default; has names that ours have otherwise."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__()
        self.save_hyperparameters()

    def class_names(self) -> list[str]:
        return [f"kind {index}" for index in range(10)]

    def dataset_name(self) -> str:
        return "pixels"

    def setup(self, stage: str) -> None:
        self.train, self.val = random_split(Pixels(120), [80, 40])

    def _loader(self, dataset: Dataset[Any], shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(dataset, batch_size=self.hparams["batch_size"], shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.val)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(Pixels(50))

    predict_dataloader = test_dataloader


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 24 * 24, 10))


MODELS: dict[str, Callable[[], LightningModule]] = {
    "dictionary": lambda: ConfigModule(CONFIG["model"]),
    "components": lambda: ComponentModule(convolutional(), partial(torch.optim.Adam, lr=1e-3)),
}


def trainer(folder: Path, curves: LearningCurves, epochs: int = 2) -> Trainer:
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


def assert_same_weights(one: LightningModule, other: LightningModule) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("style", MODELS)
@pytest.mark.filterwarnings("ignore:You have overridden .on_after_batch_transfer. in .LightningM")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_our_data_and_callbacks_with_their_module(style: str, tmp_path: Path) -> None:
    slash = "_" if style == "dictionary" else "/"
    pairs: list[tuple[str, str]] = [
        (f"train{slash}{name}", f"val{slash}{name}") for name in ("loss", "acc")
    ]
    for epochs in (2, 3):  # the second goes on from the first
        curves = LearningCurves(*pairs)
        model, data = MODELS[style](), MNISTDataModule(**CONFIG["data"])
        last = tmp_path / "checkpoints" / "last.ckpt" if epochs == 3 else None
        fitting = trainer(tmp_path, curves, epochs)
        fitting.fit(model, data, ckpt_path=last, weights_only=True)
        fitting.test(model, data, verbose=False)
        assert [len(values) for values in curves.history.values()] == [epochs] * 4
        found = {path.name for path in Path(str(fitting.log_dir)).glob("*.png")}
        assert found == PICTURES - ({"filters.png"} if style == "dictionary" else set())
    if isinstance(model, ConfigModule):  # its own hook has normalised what it was given
        assert max(model.darkest) == pytest.approx(-MEAN / DEVIATION)


@pytest.mark.filterwarnings("ignore:You have overridden .on_after_batch_transfer. in .LightningM")
def test_our_augmentation_with_their_normalisation(tmp_path: Path) -> None:
    data = MNISTDataModule(**CONFIG["data"], augment=RandomDistortion(stroke=1.0, rotation=20.0))
    model = ConfigModule(CONFIG["model"])
    trainer(tmp_path, LearningCurves()).fit(model, data)
    assert max(model.darkest) == pytest.approx(-MEAN / DEVIATION)
    plain = data.train_set.images.float() / 255
    images, _ = next(iter(data.train_dataloader()))
    ours = {image.numpy().tobytes() for image in plain}
    assert not ours & {image.numpy().tobytes() for image in images}


def test_our_module_with_their_data(tmp_path: Path, drawn: list[Drawing]) -> None:
    torch.manual_seed(0)
    model, data = MNISTClassifier(), TheirDataModule()
    fitting = trainer(tmp_path, LearningCurves())
    fitting.fit(model, data)
    fitting.test(model, data, verbose=False)
    assert {one.name + ".png" for one in drawn} == PICTURES
    titles = {one.title.partition(":")[0] for one in drawn if one.name == "predictions"}
    assert titles == {"Validation images", "Test images"}  # its dataset_name is no name
    tested = next(one for one in drawn if one.tag == "predictions, test")
    pixels = np.asarray(tested.figure.axes[0].images[0].get_array())
    assert pixels.min() == 0  # normalised images are scaled to be seen
    probabilities = torch.cat(fitting.predict(model, data))  # type: ignore[arg-type]
    assert probabilities.shape == (50, 10)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(50))
    path = tmp_path / "checkpoints" / "last.ckpt"
    loaded = MNISTClassifier.load_from_checkpoint(path, weights_only=True)
    assert_same_weights(model, loaded)


def test_our_module_takes_what_follows_images_and_labels() -> None:
    loader = batches(torch.rand(8, 1, 28, 28), torch.arange(8), torch.ones(8))
    fitting = quiet_trainer(max_epochs=1)
    fitting.fit(MNISTClassifier(), loader, loader)
    assert {"train/loss", "val/acc"} <= fitting.callback_metrics.keys()


def test_a_batch_of_another_kind_is_refused_in_a_sentence() -> None:
    one = {"image": torch.rand(1, 28, 28), "label": torch.tensor(3)}
    loader: DataLoader[Any] = DataLoader([one])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must begin with images and labels; it is a dict"):
        quiet_trainer(max_epochs=1).fit(MNISTClassifier(), loader, loader)


@pytest.fixture
def their_line(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes arguments the command line of this process."""
    options = CONFIG["trainer"] | {"max_epochs": 1, "accelerator": "cpu"}
    always = [f"--trainer.{name}={value}" for name, value in options.items()]
    always += ["--trainer.enable_progress_bar=false"]
    return lambda *args: monkeypatch.setattr(sys, "argv", ["theirs.py", "fit", *args, *always])


@pytest.mark.filterwarnings("ignore:No seed found")
def test_our_data_on_their_command_line(their_line: Callable[..., None], workdir: Path) -> None:
    their_line(
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
    (path,) = folder.glob("checkpoints/*.ckpt")
    loaded = ComponentModule.load_from_checkpoint(path, weights_only=True, net=TwoLayers(8))
    assert_same_weights(cli.model, loaded)
    again = MNISTDataModule.load_from_checkpoint(path, weights_only=True)
    assert again.hparams["source"] == "sample"


@pytest.mark.filterwarnings("ignore:No seed found", "ignore:.*configure_optimizers. will be over")
def test_our_module_on_their_command_line(their_line: Callable[..., None], workdir: Path) -> None:
    their_line(
        "--model=mnist_lightning.MNISTClassifier",
        "--model.learning_rate=0.01",
        "--model.network=foreign.TwoLayers",
        "--model.network.hidden=8",
        "--data=test_reuse.TheirDataModule",
        "--optimizer=SGD",
        "--optimizer.lr=0.1",
    )
    cli = LightningCLI()
    assert isinstance(cli.trainer.optimizers[0], torch.optim.SGD)
    assert "val/acc" in cli.trainer.callback_metrics
    (path,) = (workdir / "lightning_logs").rglob("*.ckpt")
    loaded = MNISTClassifier.load_from_checkpoint(path, weights_only=True, network=TwoLayers(8))
    assert loaded.learning_rate == 0.01
    assert_same_weights(cli.model, loaded)
