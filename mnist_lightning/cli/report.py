"""Results as plain text."""

import csv
import io
from collections.abc import Mapping, Sequence

from torch import Tensor

from mnist_lightning.pictures import UNSURE_BELOW


def class_report(matrix: Tensor, class_names: Sequence[str], pairs: int = 2) -> str:
    """Returns a table of the accuracy of each class, and the classes that are confused most.

    Args:
        matrix: Counts, integers of shape ``(num_classes, num_classes)``: rows are true classes,
            columns predicted ones.
        class_names: A name for each class.
        pairs: How many pairs of classes are named at most; both directions count.

    Example:
        >>> import torch
        >>> print(class_report(torch.tensor([[98, 2], [1, 49]]), ["cat", "dog"]))
        Class  Images  Accuracy  Taken for
        cat       100    98.00%  dog (2)
        dog        50    98.00%  cat (1)
        Most confused: cat and dog (3)
    """
    width = max(5, *map(len, class_names))
    lines = [f"{'Class':<{width}}  Images  Accuracy  Taken for"]
    mistakes = matrix.clone().fill_diagonal_(0)
    for index, name in enumerate(class_names):
        images, right = int(matrix[index].sum()), int(matrix[index, index])
        accuracy = f"{right / images:.2%}" if images else "-"
        order = mistakes[index].argsort(descending=True, stable=True)[:3].tolist()
        others = [
            f"{class_names[other]} ({mistakes[index, other]})"
            for other in order
            if mistakes[index, other]
        ]
        lines.append(f"{name:<{width}}  {images:>6}  {accuracy:>8}  {', '.join(others)}".rstrip())
    both = (mistakes + mistakes.T).triu()
    worst = both.flatten().argsort(descending=True, stable=True)[:pairs].tolist()
    confused = [(divmod(place, len(matrix)), int(both.flatten()[place])) for place in worst]
    named = [
        f"{class_names[one]} and {class_names[other]} ({count})"
        for (one, other), count in confused
        if count
    ]
    if named:
        lines.append(f"Most confused: {', '.join(named)}")
    return "\n".join(lines)


def prediction_csv(results: Mapping[str, str | None], probabilities: Tensor) -> str:
    """Returns predictions as CSV: ``file,label,probability,p0,p1,…``; the label is the prediction.

    Args:
        results: For each picture why it has no prediction (its row is then empty), or None.
        probabilities: Of the others, ``(N, num_classes)``.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    classes = range(probabilities.shape[1])
    table.writerow(["file", "label", "probability", *(f"p{index}" for index in classes)])
    rows = iter(probabilities.tolist())
    for name, reason in results.items():
        if reason is None:
            row = next(rows)
            values = [f"{value:.6f}" for value in (max(row), *row)]
            table.writerow([name, row.index(max(row)), *values])
        else:
            table.writerow([name] + [""] * (2 + len(classes)))
    return text.getvalue()


def prediction_report(
    results: Mapping[str, str | None],
    probabilities: Tensor,
    class_names: Sequence[str],
    most: int = 100,
) -> str:
    """Returns a table of predictions; unsure ones name the next likeliest class.

    Args:
        results: For each picture why it has no prediction, or None.
        probabilities: Of the others, ``(N, num_classes)``.
        class_names: A name for each class.
        most: How many predictions are shown at most; what has none is always shown.

    Example:
        >>> import torch
        >>> results = {"a.png": None, "b.png": "is empty", "c.png": None}
        >>> print(prediction_report(results, torch.tensor([[0.02, 0.98], [0.6, 0.4]]), "01"))
        a.png  1   98.00%
        b.png  -           is empty
        c.png  0   60.00%  unsure: or 1 (40.00%)
    """
    width = max(map(len, results), default=0)
    names = max(map(len, class_names))
    rows = iter(zip(*probabilities.topk(2), strict=True))
    lines, shown = [], 0
    for file, reason in results.items():
        if reason is not None:
            lines.append(f"{file:<{width}}  {'-':<{names}}           {reason}")
            continue
        (first, second), (label, other) = (pair.tolist() for pair in next(rows))
        shown += 1
        if shown <= most:
            doubt = (
                f"  unsure: or {class_names[other]} ({second:.2%})" if first < UNSURE_BELOW else ""
            )
            lines.append(f"{file:<{width}}  {class_names[label]:<{names}}  {first:>7.2%}{doubt}")
    return "\n".join(lines)
