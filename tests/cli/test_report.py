"""The table at the end of a run."""

import torch

from mnist_lightning.cli.report import class_table


def test_says_what_the_matrix_says() -> None:
    matrix = torch.tensor([[990, 0, 10], [4, 95, 1], [0, 7, 3]])
    assert class_table(matrix, ["T-shirt", "bag", "x"]).splitlines() == [
        "Class    Images   Recall  Precision       F1  Mistaken for",
        "T-shirt    1000   99.00%     99.60%   99.30%  x (10)",
        "bag         100   95.00%     93.14%   94.06%  T-shirt (4), x (1)",
        "x            10   30.00%     21.43%   25.00%  bag (7)",
        "Most confused: T-shirt and x (10), bag and x (8)",
    ]


def test_names_no_more_than_three_classes_and_no_pair_without_mistakes() -> None:
    matrix = torch.eye(6, dtype=torch.long) * 5
    matrix[2] = torch.tensor([1, 3, 0, 2, 4, 0])
    lines = class_table(matrix, "012345").splitlines()
    assert lines[3] == "2          10    0.00%          -    0.00%  4 (4), 1 (3), 3 (2)"
    assert lines[1] == "0           5  100.00%     83.33%   90.91%"
    assert class_table(torch.eye(2, dtype=torch.long), "01").splitlines()[-1].startswith("1")


def test_a_class_without_images_has_no_recall() -> None:
    assert "b           0        -      0.00%    0.00%" in class_table(
        torch.tensor([[2, 1], [0, 0]]), "ab"
    )
