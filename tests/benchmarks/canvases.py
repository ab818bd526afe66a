"""How well digits are read from pictures: MNIST's test digits on shaded, textured paper.

Exits with 1 where that costs more than half a point of accuracy.
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
from mnist_lightning.pictures.normalize import to_digit

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic_pictures import on_canvas


def naively(picture: Image.Image, light_on_dark: bool) -> Tensor:
    """Returns a picture as most projects take it: made small, and inverted where that is known."""
    small = picture.resize((28, 28), Image.Resampling.BILINEAR)
    digit = torch.from_numpy(np.asarray(small, dtype=np.float32)).div(255).unsqueeze(0)
    return digit if light_on_dark else 1 - digit


def main() -> None:
    """Prints the accuracy on the original images, and on pictures of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--count", type=int, default=10_000, help="how many test digits")
    options = parser.parse_args()
    data = MNISTDataModule(options.data_dir, source="mnist")
    data.prepare_data()
    data.setup("test")
    images = data.test_set.images[: options.count].float().div(255)
    labels = data.test_set.labels[: options.count]
    model = MNISTClassifier.from_pretrained().eval()

    def judge(digits: Tensor) -> tuple[float, str]:
        with torch.inference_mode():
            probability, label = model(digits).softmax(dim=1).max(dim=1)
        wrong, unsure = label != labels, probability < UNSURE_BELOW
        return float(1 - wrong.float().mean()), (
            f"{float(unsure.float().mean()):.2%} unsure, among them {int((wrong & unsure).sum())} "
            f"of {int(wrong.sum())} mistakes"
        )

    def canvases(light_on_dark: bool) -> Iterator[Image.Image]:
        random = np.random.default_rng(0)
        for image in images[:, 0].numpy():
            yield on_canvas(image, random, light_on_dark)

    original, doubt = judge(images)
    print(f"{len(labels):,} original images: {original:.2%} ({doubt})")
    worst = original
    for light_on_dark, name in ((False, "dark on light"), (True, "light on dark")):
        pairs = [(to_digit(p), naively(p, light_on_dark)) for p in canvases(light_on_dark)]
        prepared, naive = (torch.stack(digits) for digits in zip(*pairs, strict=True))
        accuracy, doubt = judge(prepared)
        print(f"{name}: {accuracy:.2%} ({doubt}); only made small {judge(naive)[0]:.2%}")
        worst = min(worst, accuracy)
    sys.exit(worst < original - 0.005)


if __name__ == "__main__":
    main()
