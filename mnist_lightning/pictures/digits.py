"""Reads numbers: the digits in a picture, and the hypotheses among which the network chooses."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningModule
from PIL import Image
from torch import Tensor

from mnist_lightning.pictures.image_math import Array, resize_nearest
from mnist_lightning.pictures.ink import extract_ink
from mnist_lightning.pictures.normalize import BOX_SIZES, SIZE, normalize
from mnist_lightning.pictures.reading import Source, map_pictures
from mnist_lightning.pictures.segment import find_lines, find_mask

CUT_PENALTY = 1.0  # in log-probability: a cut must be much more probable than one digit
LINE_SEPARATOR = "/"

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, relative to the width and height of the picture."""


class Reading(NamedTuple):
    """One way to read the components from ``start`` to ``stop`` of a line, with its digits."""

    start: int
    stop: int
    boxes: list[Box]


Lines = list[list[Reading]]


class Number(NamedTuple):
    """The number in a picture, and the positions of its digits among those of all readings."""

    text: str
    digits: list[int]


def find_digits(picture: Image.Image) -> tuple[Tensor, Lines]:
    """Finds the digits in a picture and normalizes them to MNIST's format.

    Args:
        picture: A picture of any mode and size.

    Returns:
        All digits of all readings in their order, float32 of shape ``(R, 3, 28, 28)`` in [0, 1],
        ink light, each in the sizes ``BOX_SIZES``; and the readings of each line.

    Raises:
        UnreadablePictureError: If no digit stands out from the paper.
    """
    ink = extract_ink(picture)
    digits: list[Tensor] = []
    lines: Lines = []
    for hypotheses in find_lines(ink):
        lines.append([])
        for start, stop, masks in hypotheses:
            digits += [normalize(ink * resize_nearest(mask, ink.shape)) for mask in masks]
            lines[-1].append(Reading(start, stop, [_bounding_box(mask) for mask in masks]))
    return torch.stack(digits), lines


def find_single_digit(picture: Image.Image) -> Tensor:
    """Normalizes a picture that shows one digit, in one or more parts, to MNIST's format.

    Args:
        picture: A picture of any mode and size.

    Returns:
        float32 of shape ``(3, 28, 28)`` in [0, 1], ink light, in each of the sizes ``BOX_SIZES``.

    Raises:
        UnreadablePictureError: If no ink stands out from the paper.
    """
    ink = extract_ink(picture)
    return normalize(ink * resize_nearest(find_mask(ink), ink.shape))


def load_digits(images: Source | Iterable[Source]) -> Tensor:
    """Loads pictures of one digit each and normalizes them to MNIST's format.

    Args:
        images: A file or a picture opened with Pillow, or several of them; only the first frame of
            a file is used.

    Returns:
        float32 of shape ``(N, 3, 28, 28)`` in [0, 1], ink light, in each of the sizes
        ``BOX_SIZES``.

    Raises:
        UnreadablePictureError: If a picture cannot be read or shows no digit; the message names it.
    """
    digits = map_pictures(find_single_digit, images)
    return torch.stack(digits) if digits else torch.zeros(0, len(BOX_SIZES), SIZE, SIZE)


@torch.inference_mode()
def predict_digits(model: LightningModule, digits: Tensor) -> Tensor:
    """Predicts digits in three sizes, without dropout.

    Args:
        model: Its ``predict_step`` maps images ``(N, 1, 28, 28)`` to probabilities.
        digits: ``(N, 3, 28, 28)``.

    Returns:
        Probabilities ``(N, num_classes)``.
    """
    was_training = model.training
    try:
        images = digits.to(model.device).flatten(0, 1).unsqueeze(1)
        return average_sizes(model.eval().predict_step(images))
    finally:
        model.train(was_training)


def read_numbers(model: LightningModule, images: Source | Iterable[Source]) -> list[str]:
    """Reads the number in each picture.

    Args:
        model: See ``predict_digits``.
        images: See ``load_digits``.

    Raises:
        UnreadablePictureError: See ``load_digits``.
    """

    def read(picture: Image.Image) -> str:
        digits, lines = find_digits(picture)
        return choose_number(lines, predict_digits(model, digits)).text

    return map_pictures(read, images)


def _bounding_box(mask: Array) -> Box:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, right = columns[0] / width, (columns[-1] + 1) / width
    return float(left), float(rows[0] / height), float(right), float((rows[-1] + 1) / height)


def average_sizes(probabilities: Tensor) -> Tensor:
    """Averages the predictions of each digit in its three sizes.

    Args:
        probabilities: ``(3 * N, num_classes)``.

    Returns:
        ``(N, num_classes)``.
    """
    num_classes = probabilities.shape[1]
    return probabilities.view(-1, len(BOX_SIZES), num_classes).mean(dim=1)


def choose_number(lines: Lines, probabilities: Tensor) -> Number:
    """Chooses the most probable readings of each line; a slash separates the lines.

    Args:
        lines: See ``choose_digits``.
        probabilities: ``(R, num_classes)``, of the digits of all readings in their order.
    """
    confidences, labels = probabilities.max(dim=1)
    chosen = choose_digits(lines, confidences.tolist())
    text = LINE_SEPARATOR.join("".join(map(str, labels[line].tolist())) for line in chosen)
    return Number(text, list(chain.from_iterable(chosen)))


def choose_digits(lines: Lines, confidences: Sequence[float]) -> list[list[int]]:
    """Chooses the most probable readings of each line (by dynamic programming).

    The probability of a reading is the geometric mean of that of its digits, raised to the power
    of the number of its components, so that all ways to read a line have as many factors.

    Args:
        lines: The readings of each line, ordered by their end.
        confidences: The highest probability of each digit, in the order of the readings.

    Returns:
        The indices of the chosen digits of each line, from left to right.
    """
    indices = count()
    chosen = []
    for readings in lines:
        best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
        for start, stop, boxes in readings:
            digits = [next(indices) for _ in boxes]
            score, previous = best[start]
            logs = [math.log(confidences[digit] + 1e-9) for digit in digits]
            score += (stop - start) * sum(logs) / len(logs) - CUT_PENALTY * (len(logs) - 1)
            if stop not in best or score > best[stop][0]:
                best[stop] = score, previous + digits
        chosen.append(best[max(best)][1])
    return chosen
