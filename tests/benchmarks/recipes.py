"""Times recipes: each complete command divided by the time of the first recipe, same seed.

    python tests/benchmarks/recipes.py notebook fast

The recipes take turns, seed by seed. MNIST is read from ``--data_dir``; without it, MNIST is
downloaded to a temporary folder.
"""

import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

from contender import median_and_range, run_command

from mnist_lightning import MNISTDataModule


def time_fit(recipe: str, seed: int, data_dir: Path) -> float:
    """Trains a recipe in a temporary folder and returns the seconds of the complete command."""
    source = [] if recipe == "quick" else [f"--data.data_dir={data_dir}"]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mnist_lightning", "fit", f"--config={recipe}", *source]
        run_command([*command, f"--seed_everything={seed}"], cwd=folder)
    return time.monotonic() - begin


def main() -> None:
    """Parses the command line, and prints the relative time of each recipe."""
    parser = ArgumentParser(description="Times recipes.")
    parser.add_argument("recipes", nargs="+", help="recipes, the first one is the reference")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data_dir", type=Path, help="folder with MNIST; default: download it")
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {recipe: [] for recipe in options.recipes}
    with tempfile.TemporaryDirectory() as temporary:
        data_dir = (options.data_dir or Path(temporary)).absolute()
        MNISTDataModule(str(data_dir), source="mnist").prepare_data()
        for seed in range(options.seeds):
            times = {recipe: time_fit(recipe, seed, data_dir) for recipe in ratios}
            for recipe, seconds in times.items():
                ratios[recipe].append(seconds / times[options.recipes[0]])
    for recipe, values in ratios.items():
        print(f"{recipe}: {median_and_range(values)}")


if __name__ == "__main__":
    main()
