"""Results as text: tables to print, and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from mnist_lightning.pictures import UNSURE_BELOW


def class_table(matrix: Tensor, class_names: Sequence[str], max_pairs: int = 2) -> str:
    """Returns a table of the recall, precision and F1 score of each class, and the mistakes.

    The recall of a class is its accuracy; F1 is the harmonic mean of recall and precision.

    Args:
        matrix: Counts, integers of shape ``(num_classes, num_classes)``: rows are true classes,
            columns predicted ones.
        class_names: A name for each class.
        max_pairs: Maximum number of confused pairs to name, both directions counted.

    Example:
        >>> import torch
        >>> print(class_table(torch.tensor([[98, 2], [1, 49]]), ["cat", "dog"]))
        Class  Images   Recall  Precision       F1  Mistaken for
        cat       100   98.00%     98.99%   98.49%  dog (2)
        dog        50   98.00%     96.08%   97.03%  cat (1)
        Most confused: cat and dog (3)
    """
    width = max(5, *map(len, class_names))
    lines = [f"{'Class':<{width}}  Images   Recall  Precision       F1  Mistaken for"]
    mistakes = matrix.clone().fill_diagonal_(0)
    for index, name in enumerate(class_names):
        images, predicted = int(matrix[index].sum()), int(matrix[:, index].sum())
        correct = int(matrix[index, index])
        recall, precision = _percent(correct, images), _percent(correct, predicted)
        f1 = _percent(2 * correct, images + predicted)
        ranking = mistakes[index].argsort(descending=True, stable=True)[:3].tolist()
        confused = ", ".join(
            f"{class_names[guess]} ({mistakes[index, guess]})"
            for guess in ranking
            if mistakes[index, guess]
        )
        scores = f"{recall:>7}  {precision:>9}  {f1:>7}"
        lines.append(f"{name:<{width}}  {images:>6}  {scores}  {confused}".rstrip())
    if pairs := _confused_pairs(mistakes, class_names, max_pairs):
        lines.append(f"Most confused: {', '.join(pairs)}")
    return "\n".join(lines)


def _percent(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "-"


def _confused_pairs(mistakes: Tensor, class_names: Sequence[str], max_pairs: int) -> list[str]:
    counts = (mistakes + mistakes.T).triu().flatten()
    ranking = counts.argsort(descending=True, stable=True)[:max_pairs].tolist()
    pairs = [(*divmod(cell, len(mistakes)), int(counts[cell])) for cell in ranking]
    return [
        f"{class_names[first]} and {class_names[second]} ({count})"
        for first, second, count in pairs
        if count
    ]


class PredictedImage(NamedTuple):
    """The predicted digits of an image, or the reason why it has none."""

    name: str
    digits: Sequence[int]
    """The rows of the digits among all probabilities, in reading order."""
    number: str = ""
    """The digits of the user's picture as text; lines are separated by a slash."""
    reason: str = ""


def prediction_csv(images: Sequence[PredictedImage], probabilities: Tensor) -> str:
    """Returns predictions as CSV: ``file,label,probability,p0,p1,…,number``, a row per digit.

    The label is the prediction. If an image shows several digits, ``[1]``, ``[2]`` and so on are
    appended to its name. If it shows none, the other columns are empty.

    Args:
        images: The images and the rows of their digits.
        probabilities: ``(N, num_classes)``.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    classes = range(probabilities.shape[1])
    table.writerow(["file", "label", "probability", *(f"p{label}" for label in classes), "number"])
    for image in images:
        if not image.digits:
            table.writerow([image.name] + [""] * (3 + len(classes)))
        for position, digit in enumerate(image.digits, start=1):
            name = f"{image.name}[{position}]" if len(image.digits) > 1 else image.name
            row = probabilities[digit].tolist()
            values = [f"{value:.6f}" for value in (max(row), *row)]
            table.writerow([name, row.index(max(row)), *values, image.number])
    return text.getvalue()


def prediction_table(
    images: Sequence[PredictedImage],
    probabilities: Tensor,
    class_names: Sequence[str],
    max_rows: int = 100,
) -> str:
    """Returns a table of predictions; unsure ones also name the second most likely class.

    The probability of a number is that of its least probable digit.

    Args:
        images: The images and the rows of their digits.
        probabilities: ``(N, num_classes)``.
        class_names: A name for each class.
        max_rows: Maximum number of predictions to show; all failures are shown.

    Example:
        >>> import torch
        >>> images = [
        ...     PredictedImage("a.png", [0]),
        ...     PredictedImage("b.png", [], reason="is empty"),
        ...     PredictedImage("c.png", [0, 1], "10"),
        ... ]
        >>> print(prediction_table(images, torch.tensor([[0.02, 0.98], [0.6, 0.4]]), "01"))
        a.png  1    98.00%
        b.png  -            is empty
        c.png  10   60.00%  unsure: digit 2 may be 1 (40.00%)
    """
    values, labels = (tensor.tolist() for tensor in probabilities.topk(2))
    texts = {
        image.name: image.number if image.digits[1:] else class_names[labels[image.digits[0]][0]]
        for image in images
        if image.digits
    }
    file_width = max((len(image.name) for image in images), default=0)
    text_width = max(map(len, texts.values()), default=1)
    lines, row = [], 0
    for image in images:
        if not image.digits:
            lines.append(
                f"{image.name:<{file_width}}  {'-':<{text_width}}           {image.reason}"
            )
            continue
        row += 1
        if row > max_rows:
            continue
        digit = min(image.digits, key=lambda digit: values[digit][0])  # the least probable one
        (first, second), runner_up = values[digit], class_names[labels[digit][1]]
        line = f"{image.name:<{file_width}}  {texts[image.name]:<{text_width}}  {first:>7.2%}"
        if first < UNSURE_BELOW:
            position = image.digits.index(digit) + 1
            subject = f"digit {position} may be" if image.digits[1:] else "or"
            line += f"  unsure: {subject} {runner_up} ({second:.2%})"
        lines.append(line)
    return "\n".join(lines)
