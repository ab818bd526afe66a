"""The network: two convolutions and two dense layers, in plain PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from typing_extensions import override

from mnist_lightning.errors import InvalidArgumentError, check_integer, check_number

MAX_CLASSES = 10_000  # a mistyped number could fill the memory


class DigitCNN(nn.Module):
    """Two convolutional and two dense layers: 37,610 parameters for ten classes.

    Weights are initialized as in Keras: Glorot uniform (Glorot and Bengio, 2010), biases zero.
    Pooling comes before ReLU: the result is the same, with a quarter of the values to rectify.

    Args:
        dropout: Probability of dropping a value before the last layer during training.
        num_classes: Number of classes.
        batch_norm: Whether to normalize hidden values over each batch during training (Ioffe and
            Szegedy, 2015). The number of parameters stays the same: each normalization has a
            shift, which replaces the bias of the layer before it, and no scale, which the next
            layer could undo.

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
        self, dropout: float = 0.2, num_classes: int = 10, batch_norm: bool = False
    ) -> None:
        super().__init__()
        check_number("dropout", dropout, at_least=0, below=1, hint="0 disables it")
        check_integer("num_classes", num_classes, 2, MAX_CLASSES)
        self.dropout = dropout
        self.num_classes = num_classes

        def norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> list[nn.Module]:
            # A constant scale of 1. Without any, the layer cannot be trained on a GPU (torch 2.11).
            del layer.weight
            layer.register_buffer("weight", torch.ones(layer.num_features), persistent=False)
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
            InvalidArgumentError: If the images have another size. Slightly larger ones would
                otherwise be cropped without notice.
        """
        if images.shape[1:] != (1, 28, 28):
            raise InvalidArgumentError(
                "images.shape",
                tuple(images.shape),
                "DigitCNN accepts (N, 1, 28, 28); resize the images, or use another network",
            )
        logits: Tensor = self.head(self.features(images))
        return logits

    @torch.no_grad()
    def folded(self) -> "DigitCNN":
        """Returns the network without batch normalization that has the same outputs in eval mode.

        Each normalization is an affine map with positive scale, which commutes with max pooling
        and can therefore be merged into the layer before it.
        """
        device = next(self.parameters()).device
        plain = DigitCNN(self.dropout, self.num_classes).to(device)
        plain_layers = (
            layer for layer in plain.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                target = next(plain_layers)
                target.load_state_dict(layer.state_dict(), strict=False)  # it may have no bias
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                target.weight, target.bias = fuse_conv_bn_weights(  # valid for dense layers, too
                    target.weight,
                    None,
                    layer.running_mean,
                    layer.running_var,
                    layer.eps,
                    None,
                    layer.bias,
                )
        return plain.requires_grad_().to(memory_format=torch.channels_last)
