"""Prints the figures of the pretrained weights that stand in their model card.

    python tests/benchmarks/pretrained.py

Needs scikit-learn, for images from elsewhere. MNIST comes from ``--data_dir``, else it is
downloaded as the package does it.
"""

import tempfile
from argparse import ArgumentParser

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.cli.report import class_table


def elsewhere() -> tuple[Tensor, Tensor]:
    """Returns the 1,797 digits of scikit-learn, 8x8 pixels, scaled up into MNIST's 20x20 box."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    images = functional.interpolate(images, (20, 20), mode="bilinear", align_corners=False)
    return functional.pad(images, (4, 4, 4, 4)), torch.from_numpy(digits.target)


@torch.inference_mode()
def main() -> None:
    """Tests the weights."""
    parser = ArgumentParser()
    parser.add_argument("--data_dir")
    with tempfile.TemporaryDirectory() as folder:
        data = MNISTDataModule(parser.parse_args().data_dir or folder, source="mnist")
        data.prepare_data()
        data.setup("test")
    model = MNISTClassifier.from_pretrained().eval()
    images, labels = data.test_set.images / 255, data.test_set.labels
    logits = model(images)
    matrix = multiclass_confusion_matrix(logits, labels, num_classes=10)
    error = multiclass_calibration_error(logits.softmax(1), labels, num_classes=10, n_bins=15)
    accuracy = (logits.argmax(1) == labels).float().mean()
    print(f"accuracy {accuracy:.2%}, loss {functional.cross_entropy(logits, labels):.4f}")
    print(f"expected calibration error, 15 bins: {error:.4f}")
    print(f"mean probability of the answer: {logits.softmax(1).amax(1).mean():.4f}")
    for row in matrix.tolist():
        print("|", " | ".join(map(str, row)), "|")
    print(class_table(matrix, data.class_names, max_pairs=5))
    images, labels = elsewhere()
    accuracy = (model(images).argmax(1) == labels).float().mean()
    print(f"scikit-learn's {len(labels):,} digits: {accuracy:.2%}")


if __name__ == "__main__":
    main()
