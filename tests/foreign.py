"""Models and data in the style of other projects."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class ForeignClassifier(LightningModule):
    """Logs metrics in every step, under names with underscores; its steps return the loss."""

    def __init__(self, features: int = 784, classes: int = 10) -> None:
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits."""
        logits: Tensor = self.layer(images.flatten(1))
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return {"loss": loss}

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        logits = self(batch[0])
        loss = nn.functional.cross_entropy(logits, batch[1])
        self.log("val_loss", loss)
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())
        return loss

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class TwoLayers(nn.Module):
    """A plain PyTorch network."""

    def __init__(self, hidden: int, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, hidden), nn.Tanh(), nn.Linear(hidden, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits."""
        logits: Tensor = self.layers(images)
        return logits


def loader(*tensors: Tensor, batch_size: int = 4) -> DataLoader[tuple[Tensor, ...]]:
    """Returns a loader of batches of these tensors."""
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size)
