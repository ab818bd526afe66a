"""Accuracy on pictures of digits: MNIST's test digits on shaded and textured paper.

Exits with status 1 if it is more than half a percentage point below that on the original images.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.pictures import UNSURE_BELOW
from mnist_lightning.pictures.digits import find_single_digit, predict_digits

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic_pictures import on_canvas

MAX_LOSS = 0.005  # of accuracy


def shrink(picture: Image.Image, light_on_dark: bool) -> Tensor:
    """Returns a picture as most projects prepare it: shrunk, and inverted if it has to be."""
    small = picture.resize((28, 28), Image.Resampling.BILINEAR)
    digit = torch.from_numpy(np.asarray(small, dtype=np.float32)).div(255).unsqueeze(0)
    return digit if light_on_dark else 1 - digit


def main() -> None:
    """Prints the accuracy on the original images and on pictures of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="data", help="the folder with the MNIST files")
    parser.add_argument("--count", type=int, default=10_000, help="the number of test digits")
    options = parser.parse_args()
    data = MNISTDataModule(options.data_dir, source="mnist")
    data.prepare_data()
    data.setup("test")
    images = data.test_set.images[: options.count].float().div(255)
    labels = data.test_set.labels[: options.count]
    model = MNISTClassifier.from_pretrained().eval()

    def evaluate(probabilities: Tensor) -> tuple[float, str]:
        probabilities, predictions = probabilities.max(dim=1)
        is_wrong, is_unsure = predictions != labels, probabilities < UNSURE_BELOW
        return float(1 - is_wrong.float().mean()), (
            f"{float(is_unsure.float().mean()):.2%} unsure, including "
            f"{int((is_wrong & is_unsure).sum())} of {int(is_wrong.sum())} errors"
        )

    def draw_pictures(light_on_dark: bool) -> Iterator[Image.Image]:
        rng = np.random.default_rng(0)
        for image in images[:, 0].numpy():
            yield on_canvas(image, rng, light_on_dark)

    @torch.inference_mode()
    def predict(digits: Tensor) -> Tensor:
        return model.predict_step(digits)

    original, details = evaluate(predict(images))
    print(f"{len(labels):,} original images: {original:.2%} ({details})")
    lowest = original
    for light_on_dark, name in ((False, "dark on light"), (True, "light on dark")):
        pairs = [
            (find_single_digit(p), shrink(p, light_on_dark)) for p in draw_pictures(light_on_dark)
        ]
        normalized, shrunk = (torch.stack(digits) for digits in zip(*pairs, strict=True))
        accuracy, details = evaluate(predict_digits(model, normalized))
        print(f"{name}: {accuracy:.2%} ({details}); only shrunk {evaluate(predict(shrunk))[0]:.2%}")
        lowest = min(lowest, accuracy)
    sys.exit(lowest < original - MAX_LOSS)


if __name__ == "__main__":
    main()
