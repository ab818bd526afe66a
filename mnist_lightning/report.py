"""What a confusion matrix says, as plain text."""

from collections.abc import Sequence

from torch import Tensor


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
