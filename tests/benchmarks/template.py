"""Times the network written as in most Lightning templates and tutorials.

It uses a torchvision dataset with ``ToTensor``, plain DataLoaders, metrics that are logged in every
step and shown in the progress bar, and Lightning's default logger and callbacks.
"""

import time
from pathlib import Path

import torch
from contender import parse_arguments, peak_memory, print_result
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

IMPORT_MEMORY = peak_memory()
Batch = tuple[Tensor, Tensor]


class Data(LightningDataModule):
    """MNIST from torchvision."""

    def __init__(self, folder: Path, batch_size: int) -> None:
        super().__init__()
        self.folder, self.batch_size = folder, batch_size

    def setup(self, stage: str) -> None:
        dataset = MNIST(self.folder, train=True, transform=ToTensor())
        self.train, self.val = random_split(dataset, [48_000, 12_000])
        self.test = MNIST(self.folder, train=False, transform=ToTensor())

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.val, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.test, batch_size=self.batch_size)


class Model(LightningModule):
    """The notebook's network and recipe."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(1, 8, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(128, 10),
        )
        self.train_acc = MulticlassAccuracy(10, average="micro")
        self.val_acc = MulticlassAccuracy(10, average="micro")
        self.test_acc = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: Batch) -> Tensor:
        images, labels = batch
        logits = self.model(images)
        loss = functional.cross_entropy(logits, labels)
        self.train_acc(logits, labels)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_acc", self.train_acc, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch) -> None:
        images, labels = batch
        logits = self.model(images)
        self.val_acc(logits, labels)
        self.log("val_loss", functional.cross_entropy(logits, labels), prog_bar=True)
        self.log("val_acc", self.val_acc, prog_bar=True)

    def test_step(self, batch: Batch) -> None:
        images, labels = batch
        self.test_acc(self.model(images), labels)
        self.log("test_acc", self.test_acc)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def train(data_dir: Path, epochs: int, batch_size: int, seed: int = 0) -> tuple[float, float]:
    """Returns the seconds of a fit and the accuracy on the test images."""
    seed_everything(seed)
    data, model = Data(data_dir, batch_size), Model()
    trainer = Trainer(max_epochs=epochs)
    begin = time.perf_counter()
    trainer.fit(model, data)
    seconds = time.perf_counter() - begin
    (result,) = trainer.test(model, data, verbose=False)
    return seconds, result["test_acc"]


if __name__ == "__main__":
    options = parse_arguments()
    recipe = (options.epochs, options.batch_size, options.seed)
    print_result(*train(options.data_dir, *recipe), IMPORT_MEMORY)
