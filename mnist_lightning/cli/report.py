"""Results as text: tables to print, and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

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


def prediction_csv(results: Mapping[str, str | None], probabilities: Tensor) -> str:
    """Returns predictions as CSV: ``file,label,probability,p0,p1,…``; the label is the prediction.

    Args:
        results: For each picture None, or the reason why it has no prediction, which leaves its
            row empty.
        probabilities: Those of the pictures with a prediction, ``(N, num_classes)``.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    classes = range(probabilities.shape[1])
    table.writerow(["file", "label", "probability", *(f"p{label}" for label in classes)])
    rows = iter(probabilities.tolist())
    for name, reason in results.items():
        if reason is None:
            row = next(rows)
            values = [f"{value:.6f}" for value in (max(row), *row)]
            table.writerow([name, row.index(max(row)), *values])
        else:
            table.writerow([name] + [""] * (2 + len(classes)))
    return text.getvalue()


def prediction_table(
    results: Mapping[str, str | None],
    probabilities: Tensor,
    class_names: Sequence[str],
    max_rows: int = 100,
) -> str:
    """Returns a table of predictions; unsure ones also name the second most likely class.

    Args:
        results: For each picture None, or the reason why it has no prediction.
        probabilities: Those of the pictures with a prediction, ``(N, num_classes)``.
        class_names: A name for each class.
        max_rows: Maximum number of predictions to show; all failures are shown.

    Example:
        >>> import torch
        >>> results = {"a.png": None, "b.png": "is empty", "c.png": None}
        >>> print(prediction_table(results, torch.tensor([[0.02, 0.98], [0.6, 0.4]]), "01"))
        a.png  1   98.00%
        b.png  -           is empty
        c.png  0   60.00%  unsure: or 1 (40.00%)
    """
    file_width = max(map(len, results), default=0)
    name_width = max(map(len, class_names))
    predictions = iter(zip(*probabilities.topk(2), strict=True))
    lines, row = [], 0
    for file, reason in results.items():
        if reason is not None:
            lines.append(f"{file:<{file_width}}  {'-':<{name_width}}           {reason}")
            continue
        (first, second), (label, runner_up) = (pair.tolist() for pair in next(predictions))
        row += 1
        if row > max_rows:
            continue
        line = f"{file:<{file_width}}  {class_names[label]:<{name_width}}  {first:>7.2%}"
        if first < UNSURE_BELOW:
            line += f"  unsure: or {class_names[runner_up]} ({second:.2%})"
        lines.append(line)
    return "\n".join(lines)
