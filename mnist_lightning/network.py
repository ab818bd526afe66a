"""The network of the notebook, in plain PyTorch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from typing_extensions import override

from mnist_lightning.errors import InvalidArgumentError, check_integer, check_number

MAX_CLASSES = 10_000  # for which there is room; a slip of the finger would fill the memory


class DigitCNN(nn.Module):
    """Two convolutions and two dense layers: 37,610 parameters for ten classes.

    Weights start as in Keras: Glorot uniform (Glorot and Bengio, 2010), biases zero. Pooling comes
    before ReLU because the two commute and a quarter of the values is left to rectify.

    Args:
        dropout: Probability that a value before the last layer is dropped while training.
        num_classes: Width of the last layer.
        batch_norm: Whether hidden values are normalised over each batch while training (Ioffe and
            Szegedy, 2015). The number of parameters stays: there is no scale, since rectified
            values pass any positive one on to the next layer, and the bias comes behind.

    Raises:
        InvalidArgumentError: If an argument is out of range.

    Example:
        >>> network = DigitCNN()
        >>> network(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> sum(parameter.numel() for parameter in network.parameters())
        37610
    """

    def __init__(
        self,
        dropout: float = 0.2,
        num_classes: int = 10,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(dropout, num_classes)

        def norm(layer: _BatchNorm) -> list[nn.Module]:
            layer.register_parameter("weight", None)
            return [layer] if batch_norm else []

        bias = not batch_norm
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, kernel_size=5, bias=bias),
            nn.MaxPool2d(2),
            *norm(nn.BatchNorm2d(8)),
            nn.ReLU(),
            nn.Conv2d(8, 16, kernel_size=5, bias=bias),
            nn.MaxPool2d(2),
            *norm(nn.BatchNorm2d(16)),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 128, bias=bias),
            *norm(nn.BatchNorm1d(128)),
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
        """Maps images ``(N, 1, 28, 28)``, float in [0, 1], to logits ``(N, num_classes)``.

        Raises:
            InvalidArgumentError: If they have another size: a little larger ones would be cropped.
        """
        traced: Any = torch.jit  # where comparing sizes is warned of
        if not traced.is_tracing() and images.shape[1:] != (1, 28, 28):
            raise InvalidArgumentError(
                "images",
                tuple(images.shape),
                "DigitCNN takes (N, 1, 28, 28); resize them, or give another network",
            )
        logits: Tensor = self.head(self.features(images))
        return logits

    @torch.no_grad()
    def folded(self) -> "DigitCNN":
        """Returns the plain network that computes what this one does in evaluation mode."""
        (dropout,) = (module for module in self.head if isinstance(module, nn.Dropout))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        plain = DigitCNN(dropout.p, last.out_features).to(last.weight.device)
        targets = (layer for layer in plain.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                target = next(targets)
                target.load_state_dict(module.state_dict(), strict=False)  # there may be no bias
            elif isinstance(module, _BatchNorm):
                assert module.running_mean is not None
                assert module.running_var is not None
                target.weight, target.bias = fuse_conv_bn_weights(  # serves dense layers as well
                    target.weight,
                    None,
                    module.running_mean,
                    module.running_var,
                    module.eps,
                    None,
                    module.bias,
                )
        return plain.requires_grad_().to(memory_format=torch.channels_last)


def check_arguments(dropout: float, num_classes: int) -> None:
    """Checks arguments of ``DigitCNN``.

    Raises:
        InvalidArgumentError: If one is out of range.
    """
    check_number("dropout", dropout, at_least=0, below=1, hint="0 disables it")
    check_integer("num_classes", num_classes, 2, MAX_CLASSES)
