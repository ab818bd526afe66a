"""Times random affine transforms of a batch of 128 digits, in turn.

    python tests/benchmarks/transforms.py

Prints the time of each transform divided by that of ``RandomDistortion``: median and range of the
quartiles over the rounds. Kornia is left out if it is not installed.
"""

import statistics
import time
from argparse import ArgumentParser
from importlib.util import find_spec

import torch
from torch import nn
from torchvision.transforms import InterpolationMode, v2

from mnist_lightning import PerImage, RandomDistortion

REPETITIONS = 5  # in a round, for transforms that take less than a millisecond


def transforms() -> dict[str, nn.Module]:
    """Returns transforms that rotate, shift and scale by similar amounts, by name."""
    affine = v2.RandomAffine(10, (0.1, 0.1), (0.9, 1.1), interpolation=InterpolationMode.BILINEAR)
    found: dict[str, nn.Module] = {
        "RandomDistortion": RandomDistortion(rotation=10, scale=0.1, translation=2),
        "torchvision": affine,
        "torchvision in PerImage": PerImage(affine),
    }
    if find_spec("kornia"):
        from kornia.augmentation import RandomAffine

        found["Kornia"] = RandomAffine(10.0, (0.1, 0.1), (0.9, 1.1), p=1.0)
    return found


def main() -> None:
    """Parses the command line, measures, and prints a table."""
    parser = ArgumentParser(description="Times random affine transforms.")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    images = torch.rand(128, 1, 28, 28)
    modules = transforms()
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(options.rounds):
        for name, module in modules.items():
            start = time.perf_counter()
            for _ in range(REPETITIONS):
                module(images)
            seconds[name].append(time.perf_counter() - start)
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, seconds["RandomDistortion"], strict=True)]
        low, median, high = statistics.quantiles(ratios)
        print(f"{name}: {median:.1f} ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
