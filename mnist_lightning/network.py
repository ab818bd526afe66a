"""The network of the notebook, in plain PyTorch."""

import torch
from torch import Tensor, nn
from typing_extensions import override


class DigitCNN(nn.Module):
    """Two convolutions and two dense layers: 37,610 parameters for ten classes.

    Weights start as in Keras: Glorot uniform (Glorot and Bengio, 2010), biases zero. Pooling comes
    before ReLU because the two commute and a quarter of the values is left to rectify.

    Args:
        dropout: Probability that a value before the last layer is dropped while training.
        num_classes: Width of the last layer.

    Example:
        >>> network = DigitCNN()
        >>> network(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> sum(parameter.numel() for parameter in network.parameters())
        37610
    """

    def __init__(self, dropout: float = 0.2, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=5),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, num_classes),
        )
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
        self.to(memory_format=torch.channels_last)  # the faster layout for convolutions

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Maps images ``(N, 1, 28, 28)``, float in [0, 1], to logits ``(N, num_classes)``."""
        logits: Tensor = self.head(self.features(images))
        return logits
