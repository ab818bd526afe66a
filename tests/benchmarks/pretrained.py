"""Evaluates the pretrained weights and prints the metrics of their model card.

    python tests/benchmarks/pretrained.py

Requires scikit-learn, whose digits come from another source than MNIST. MNIST is read from
``--data_dir``; without it, MNIST is downloaded to a temporary folder.
"""

import tempfile
from argparse import ArgumentParser

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.cli.report import class_table


def load_sklearn_digits() -> tuple[Tensor, Tensor]:
    """Returns scikit-learn's 1,797 digits of 8x8 pixels, scaled to MNIST's 20x20 box."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    images = functional.interpolate(images, (20, 20), mode="bilinear", align_corners=False)
    return functional.pad(images, (4, 4, 4, 4)), torch.from_numpy(digits.target)


@torch.inference_mode()
def main() -> None:
    """Evaluates the weights on MNIST's test images and on scikit-learn's digits."""
    parser = ArgumentParser(description="Evaluates the pretrained weights.")
    parser.add_argument("--data_dir", help="folder with MNIST; default: download it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = MNISTDataModule(options.data_dir or folder, source="mnist")
        data.prepare_data()
        data.setup("test")
    model = MNISTClassifier.from_pretrained().eval()
    images, labels = data.test_set.images / 255, data.test_set.labels
    logits = model(images)
    matrix = multiclass_confusion_matrix(logits, labels, num_classes=10)
    error = multiclass_calibration_error(logits.softmax(1), labels, num_classes=10, n_bins=15)
    accuracy = (logits.argmax(1) == labels).float().mean()
    print(f"Test accuracy {accuracy:.2%}, loss {functional.cross_entropy(logits, labels):.4f}")
    print(f"Expected calibration error (15 bins): {error:.4f}")
    print(f"Mean probability of the prediction: {logits.softmax(1).amax(1).mean():.4f}")
    for row in matrix.tolist():
        print("|", " | ".join(map(str, row)), "|")
    print(class_table(matrix, data.class_names, max_pairs=5))
    images, labels = load_sklearn_digits()
    accuracy = (model(images).argmax(1) == labels).float().mean()
    print(f"Accuracy on scikit-learn's {len(labels):,} digits: {accuracy:.2%}")


if __name__ == "__main__":
    main()
