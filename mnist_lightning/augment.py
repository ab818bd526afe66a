"""Random changes of training images, in complete batches, on their device."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mnist_lightning.errors import check_module, check_number

NUM_KNOTS = 4  # of the elastic grid, along each axis


class RandomDistortion(nn.Module):
    """Distorts each image of a batch by random amounts, in a dozen operations on the batch.

    The amounts are sampled for each image from normal distributions around no distortion; the
    arguments are the standard deviations. Pixels from outside an image are 0, MNIST's background.
    All movements of pixels together are one matrix product and one interpolation. For 128 digits
    this takes a tenth of the time of kornia's ``RandomAffine`` and ``RandomElasticTransform``,
    which interpolate twice; most transforms of torchvision sample one amount for a complete batch,
    unless ``PerImage`` applies them to one image after the other.

    Args:
        rotation: Rotation, in degrees.
        scale: Relative change of size, independently along each axis.
        shear: Slant, in columns per row.
        translation: Shift along each axis, in pixels.
        elastic: Shift of each knot of a coarse grid, in pixels; the shift is smooth between the
            knots (after Simard, Steinkraus and Platt, 2003).
        stroke: Change of stroke width. The sampled amount is clamped to [-1, 1]; at 1 each pixel
            becomes the brightest of its neighbours, at -1 the darkest.

    Raises:
        InvalidArgumentError: If an amount is negative or not finite.

    Example:
        >>> RandomDistortion(rotation=10)(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128, 1, 28, 28])
    """

    def __init__(
        self,
        rotation: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        translation: float = 0.0,
        elastic: float = 0.0,
        stroke: float = 0.0,
    ) -> None:
        super().__init__()
        self.rotation = rotation
        self.scale = scale
        self.shear = shear
        self.translation = translation
        self.elastic = elastic
        self.stroke = stroke
        for name in ("rotation", "scale", "shear", "translation", "elastic", "stroke"):
            check_number(name, getattr(self, name), at_least=0, hint="0 disables it")

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Returns distorted copies of images ``(N, C, H, W)``, float in [0, 1]."""
        batch_size, _, height, width = images.shape
        random = torch.randn(batch_size, 7 + 2 * NUM_KNOTS**2, device=images.device)
        basis, half_size = _basis(height, width, images.device)
        sources = self._coefficients(random).transpose(1, 2).flatten(0, 1) @ basis
        grid = sources.view(batch_size, 2, height, width).permute(0, 2, 3, 1) / half_size
        images = functional.grid_sample(images, grid, align_corners=False)
        return self._change_strokes(images, random[:, 6]) if self.stroke else images

    def _coefficients(self, random: Tensor) -> Tensor:
        """Returns the coefficients of the basis functions, ``(N, functions, 2)``.

        The last dimension is for x and y. The linear combinations map each pixel to the place that
        its value comes from, in pixels from the centre.
        """
        angle = random[:, 0] * math.radians(self.rotation)
        cos, sin = angle.cos(), angle.sin()
        # exp keeps the factors positive: a negative one would mirror the image.
        scale_x, scale_y = (self.scale * random[:, 1:3]).exp().unbind(1)
        slant = self.shear * random[:, 3]
        coefficients = [
            self.translation * random[:, 4:6],
            torch.stack([cos * scale_x, sin * scale_x], dim=1),
            torch.stack([cos * slant - sin * scale_y, sin * slant + cos * scale_y], dim=1),
            self.elastic * random[:, 7:],
        ]
        return torch.cat(coefficients, dim=1).view(len(random), -1, 2)

    def _change_strokes(self, images: Tensor, random: Tensor) -> Tensor:
        amount = self.stroke * random.view(-1, 1, 1, 1)
        thicker, thinner = amount.clamp(0, 1), (-amount).clamp(0, 1)
        brightest, darkest = _max_of_neighbours(images), -_max_of_neighbours(-images)
        return images + thicker * (brightest - images) + thinner * (darkest - images)


class PerImage(nn.Module):
    """Applies a transform to each image of a batch by itself.

    Most transforms of ``torchvision.transforms.v2`` sample one random amount per call, so they
    change all images of a batch alike. Calling them for each image takes about 30 times as long.

    Args:
        transform: Maps images ``(N, C, H, W)`` to images, with one random amount for all of them.

    Raises:
        InvalidArgumentError: If ``transform`` is not a module.

    Example:
        >>> from torchvision.transforms import v2
        >>> PerImage(v2.RandomRotation(10))(torch.rand(128, 1, 28, 28)).shape
        torch.Size([128, 1, 28, 28])
    """

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        check_module("transform", transform, "maps images to images")
        self.transform = transform

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Returns changed copies of images ``(N, C, H, W)``."""
        return torch.cat([self.transform(image) for image in torch.split(images, 1)])


class LabelledTransform(nn.Module):
    """Base class of transforms that use the labels, or change them.

    Their ``forward`` maps images ``(N, C, H, W)`` and labels ``(N,)`` to both; the new labels may
    be probabilities ``(N, num_classes)``.

    Example:
        >>> class MirrorZeros(LabelledTransform):
        ...     def forward(self, images, labels):
        ...         return images.flip(3).where((labels == 0).view(-1, 1, 1, 1), images), labels
        >>> images, labels = MirrorZeros()(torch.rand(8, 1, 28, 28), torch.arange(8))
    """


def augment_batch(augment: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Applies a transform, or the transforms in a ``Sequential``, to a batch.

    Args:
        augment: Maps images to images, or is a ``LabelledTransform``.
        images: ``(N, C, H, W)``.
        labels: ``(N,)``.

    Returns:
        Images ``(N, C, H, W)``, and labels ``(N,)`` or their probabilities ``(N, num_classes)``.
    """
    if isinstance(augment, nn.Sequential):
        for module in augment:
            images, labels = augment_batch(module, images, labels)
        return images, labels
    if isinstance(augment, LabelledTransform):
        images, labels = augment(images, labels)
        return images, labels
    return augment(images), labels


def compose(augment: nn.Module | Sequence[nn.Module] | None) -> nn.Module | None:
    """Returns one module that applies all modules of a list in order.

    Args:
        augment: A module, several, or None, which is returned unchanged.

    Raises:
        InvalidArgumentError: If ``augment`` contains something else.
    """
    if augment is None:
        return None
    modules = augment if isinstance(augment, list | tuple) else [augment]
    for module in modules:
        check_module("augment", module, "maps images to images, or a list of such modules")
    return augment if isinstance(augment, nn.Module) else nn.Sequential(*modules)


@functools.lru_cache
def _basis(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the basis functions at each pixel, and half of the width and height.

    The functions are 1, x and y, in pixels from the centre, and a bump around each knot.
    """
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    plane = torch.stack([torch.ones(height, width), *torch.meshgrid(x, y, indexing="xy")])
    knots = torch.eye(NUM_KNOTS**2).view(1, -1, NUM_KNOTS, NUM_KNOTS)
    bumps = functional.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    basis = torch.cat([plane, bumps[0]]).flatten(1)
    return basis.to(device), torch.tensor([width / 2, height / 2], device=device)


def _max_of_neighbours(images: Tensor) -> Tensor:
    """Returns the maximum of the 3x3 pixels around each; 25 times as fast as max_pool2d."""
    padded = functional.pad(images, (1, 1, 1, 1))
    rows = torch.maximum(padded[..., :-2, :], padded[..., 2:, :]).maximum(padded[..., 1:-1, :])
    return torch.maximum(rows[..., :-2], rows[..., 2:]).maximum(rows[..., 1:-1])
