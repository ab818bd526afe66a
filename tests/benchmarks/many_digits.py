"""Accuracy on pictures of numbers, and doubt about pictures of other things.

    python tests/benchmarks/many_digits.py

Composes numbers of MNIST's test digits, and draws letters in the fonts of matplotlib and noise.
"""

import argparse
import string
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.data.in_memory import IndexedImages
from mnist_lightning.pictures import UNSURE_BELOW
from mnist_lightning.pictures.digits import choose_number, find_digits, predict_digits
from mnist_lightning.pictures.ink import UnreadablePictureError

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic_numbers import draw_number

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def read(model: MNISTClassifier, picture: Image.Image) -> tuple[str, float]:
    """Returns the number in a picture and the probability of its least probable digit."""
    try:
        digits, lines = find_digits(picture)
    except UnreadablePictureError:
        return "", 0.0
    probabilities = predict_digits(model, digits)
    number = choose_number(lines, probabilities)
    return number.text, float(probabilities[number.digits].amax(dim=1).min())


def draw_letters() -> Iterator[Image.Image]:
    """Draws the 52 letters in each upright and oblique font that matplotlib contains."""
    for path in sorted(FONTS.glob("DejaVuS*.ttf")):
        if "Display" in path.name:
            continue
        font = ImageFont.truetype(path, 120)
        for letter in string.ascii_letters:
            picture = Image.new("L", (240, 240), 255)
            ImageDraw.Draw(picture).text((120, 120), letter, 0, font, "mm")
            yield picture


def draw_noise(count: int) -> Iterator[Image.Image]:
    """Draws smudges: noise, blurred by random amounts."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        side = int(rng.integers(3, 40))
        grains = rng.standard_normal((side, side))
        values = np.clip(128 + 60 * grains, 0, 255).astype(np.uint8)
        yield Image.fromarray(values).resize((280, 280), Image.Resampling.BICUBIC)


def evaluate_numbers(
    model: MNISTClassifier, digits: IndexedImages, count: int, touching: bool
) -> str:
    """Returns the accuracy on random numbers of two to eight digits."""
    rng = np.random.default_rng(0)
    is_correct, is_unsure = [], []
    for _ in range(count):
        indices = torch.from_numpy(rng.integers(len(digits), size=rng.integers(2, 9)))
        images, labels = digits.batch(indices)
        number, confidence = read(model, draw_number(images[:, 0].numpy(), rng, touching))
        is_correct.append(number == "".join(map(str, labels.tolist())))
        is_unsure.append(confidence < UNSURE_BELOW)
    errors = [unsure for unsure, correct in zip(is_unsure, is_correct, strict=True) if not correct]
    return (
        f"{count:,} numbers, {'two' if touching else 'no'} digits touch: "
        f"{np.mean(is_correct):.1%} exactly right; {np.mean(is_unsure):.1%} unsure, "
        f"including {sum(errors)} of {len(errors)} errors"
    )


def main() -> None:
    """Prints the accuracy on numbers and the fraction of other pictures that are marked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", default="data", help="the folder with the MNIST files")
    parser.add_argument("--count", type=int, default=1000, help="the number of numbers")
    parser.add_argument(
        "--part",
        choices=("test", "val"),
        default="test",
        help="the digits: MNIST's test images, or the 1,200 held out from the pretrained weights",
    )
    options = parser.parse_args()
    data = MNISTDataModule(options.data_dir, source="mnist", val_fraction=0.02)
    data.prepare_data()
    data.setup("fit" if options.part == "val" else "test")
    digits = data.val_set if options.part == "val" else data.test_set
    model = MNISTClassifier.from_pretrained().eval()
    for touching in (False, True):
        print(evaluate_numbers(model, digits, options.count, touching))
    for kind, pictures in (("letters", [*draw_letters()]), ("noise", [*draw_noise(500)])):
        confidences = torch.tensor([read(model, picture)[1] for picture in pictures])
        is_marked = (confidences < UNSURE_BELOW).float().mean()
        print(f"{len(pictures)} pictures of {kind}: {is_marked:.0%} unsure or without digits")


if __name__ == "__main__":
    main()
