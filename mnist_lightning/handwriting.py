"""Training images that MNIST lacks: digits as written in Europe, and images that are not digits."""

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from mnist_lightning.augment import LabelledTransform
from mnist_lightning.errors import check_integer, check_number

CENTRE = 13.5  # of 28 pixels
STROKE_THRESHOLD = 0.5


class EuropeanDigits(LabelledTransform):
    """Adds a flag and sometimes a base to ones, and a bar to sevens.

    MNIST's writers are American. In Europe, a 1 usually starts with a flag, which may be long, and
    a 7 has a bar to tell them apart. Sizes and angles are sampled for each image. In a list, this
    transform comes before ``NonDigits``, which replaces the labels that it requires.

    Args:
        probability: Probability that a 1 or 7 is changed.

    Raises:
        InvalidArgumentError: If the probability is not in [0, 1).

    Example:
        >>> images, labels = EuropeanDigits()(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
        >>> images.shape, labels.shape
        (torch.Size([64, 1, 28, 28]), torch.Size([64]))
    """

    def __init__(self, probability: float = 0.3) -> None:
        super().__init__()
        check_number("probability", probability, at_least=0, below=1)
        self.probability = probability

    @override
    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns changed copies of images ``(N, 1, 28, 28)`` in [0, 1], and the labels."""
        random = torch.rand(6, len(images), device=images.device)
        is_changed = random[0] < self.probability
        ones, sevens = (is_changed & (labels == label) for label in (1, 7))
        digits = images[:, 0]
        strokes = _flags_and_bases(digits, random).where(_expand(ones), 0.0)
        strokes = strokes + _bars(digits, random).where(_expand(sevens), 0.0)
        changed = _centre(torch.maximum(digits, strokes))
        return changed.where(_expand(ones | sevens), digits).unsqueeze(1), labels


class NonDigits(LabelledTransform):
    """Replaces some images by others that are not digits, so that the network learns to doubt.

    They are made of digits: turned by 90 degrees, mirrored, or two next to or on top of each other.
    Their label is the uniform distribution (outlier exposure; Hendrycks, Mazeika and Dietterich,
    2019). The labels of all images become probabilities.

    Args:
        fraction: Fraction of the images that is replaced.
        num_classes: Number of classes.

    Raises:
        InvalidArgumentError: If an argument is invalid.

    Example:
        >>> images, labels = NonDigits()(torch.rand(64, 1, 28, 28), torch.arange(64) % 10)
        >>> images.shape, labels.shape
        (torch.Size([64, 1, 28, 28]), torch.Size([64, 10]))
    """

    def __init__(self, fraction: float = 0.03, num_classes: int = 10) -> None:
        super().__init__()
        check_number("fraction", fraction, at_least=0, below=0.5)
        check_integer("num_classes", num_classes, 2, 2**31 - 1)
        self.fraction = fraction
        self.num_classes = num_classes

    @override
    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns images ``(N, 1, 28, 28)`` in [0, 1] and probabilities ``(N, num_classes)``."""
        digits, partners = images[:, 0], images.flip(0)[:, 0]
        random = torch.rand(3, len(images), device=images.device)
        pairs = torch.maximum(digits.roll(4, dims=2), partners.roll(-4, dims=2))
        clockwise, anticlockwise = digits.rot90(-1, (1, 2)), digits.rot90(1, (1, 2))
        turned = clockwise.where(_expand(random[0] < 0.5), anticlockwise)
        # A mirrored 2 looks like a 5, and the other way round.
        mirrored = digits.mT.where(_expand((labels == 2) | (labels == 5)), digits.flip(2))
        is_turned = (random[1] < 1 / 3) & (labels != 0)
        is_mirrored = (random[1] > 2 / 3) & (labels != 0) & (labels != 1) & (labels != 8)
        others = turned.where(_expand(is_turned), mirrored.where(_expand(is_mirrored), pairs))
        is_replaced = random[2] < self.fraction
        images = _centre(others).where(_expand(is_replaced), digits).unsqueeze(1)
        targets = functional.one_hot(labels, self.num_classes).float()
        return images, targets.masked_fill(is_replaced.unsqueeze(1), 1 / self.num_classes)


def _expand(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def _flags_and_bases(digits: Tensor, random: Tensor) -> Tensor:
    """Returns the strokes to add to ones, ``(N, 28, 28)``; ``random`` is uniform in [0, 1]."""
    top, height = _vertical_extent(digits)
    bottom = top + height
    width = (digits.sum(dim=(1, 2)) / (height + 1)).clamp(1, 4)
    angle = torch.deg2rad(20 + 45 * random[1])
    length = height * (0.2 + 0.4 * random[2])
    x, y = _column_of_ink(digits, top), top + width / 2 - 0.5
    flag_end = x - length * angle.cos(), y + length * angle.sin()
    flags = _draw_strokes((x, y), flag_end, width * (0.7 + 0.3 * random[3]))
    x, y = _column_of_ink(digits, bottom), bottom - width / 2 + 0.5
    half = height * (0.1 + 0.2 * random[4])
    bases = _draw_strokes((x - half, y), (x + half, y), width)
    return torch.maximum(flags, bases.where(_expand(random[5] < 0.3), 0.0))


def _bars(digits: Tensor, random: Tensor) -> Tensor:
    """Returns the strokes to add to sevens, ``(N, 28, 28)``; ``random`` is uniform in [0, 1]."""
    top, height = _vertical_extent(digits)
    y = (top + height * (0.4 + 0.25 * random[1])).round()
    x = _column_of_ink(digits, y)
    half = height * (0.12 + 0.18 * random[2])
    rise = height * (0.12 * random[3] - 0.08)
    return _draw_strokes((x - half, y - rise), (x + half, y + rise), 1.3 + 1.7 * random[4])


def _vertical_extent(digits: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first row with a stroke, and the distance to the last one."""
    rows = (digits.amax(dim=2) > STROKE_THRESHOLD).float()
    top, bottom = rows.argmax(dim=1), rows.shape[1] - 1 - rows.flip(1).argmax(dim=1)
    return top.float(), (bottom - top).clamp(min=1).float()


def _column_of_ink(digits: Tensor, row: Tensor) -> Tensor:
    """Returns the mean column of the ink in a row of each image."""
    ink = digits.gather(1, row.long().view(-1, 1, 1).expand(-1, 1, digits.shape[2]))[:, 0]
    columns = torch.arange(digits.shape[2], device=digits.device)
    return (ink * columns).sum(dim=1) / ink.sum(dim=1).clamp(min=1e-3)


def _draw_strokes(
    start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], width: Tensor
) -> Tensor:
    """Draws a straight stroke with round ends in each image, ``(N, 28, 28)``, in pixels."""
    pixels = torch.arange(28.0, device=width.device)
    x, y = pixels - _expand(start[0]), pixels.view(-1, 1) - _expand(start[1])
    delta_x, delta_y = _expand(end[0] - start[0]), _expand(end[1] - start[1])
    position = (x * delta_x + y * delta_y) / (delta_x**2 + delta_y**2).clamp(min=1e-6)
    position = position.clamp(0, 1)
    distance = torch.hypot(x - position * delta_x, y - position * delta_y)
    return (_expand(width) / 2 + 0.5 - distance).clamp(0, 1)


def _centre(digits: Tensor) -> Tensor:
    """Shifts the centre of mass to the centre of each image, by full pixels."""
    pixels = torch.arange(28, device=digits.device)
    mass = digits.sum(dim=(1, 2)).clamp(min=1e-3)
    x = (digits.sum(dim=1) * pixels).sum(dim=1) / mass
    y = (digits.sum(dim=2) * pixels).sum(dim=1) / mass
    shift_x, shift_y = ((centre - CENTRE).round().long().view(-1, 1) for centre in (x, y))
    columns, rows = (pixels + shift_x).remainder(28), (pixels + shift_y).remainder(28)
    digits = digits.gather(1, rows.unsqueeze(2).expand_as(digits))
    return digits.gather(2, columns.unsqueeze(1).expand_as(digits))
