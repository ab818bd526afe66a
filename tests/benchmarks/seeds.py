"""Trains recipes with several seeds and prints their test accuracy, test loss and time.

    python tests/benchmarks/seeds.py --seeds 20 --keras PYTHON --keras_seeds 5
    python tests/benchmarks/seeds.py --seeds 5 --jobs 2 --config configs/best.yaml
    python tests/benchmarks/seeds.py --config configs/notebook.yaml configs/fast.yaml

Several recipes take turns, seed by seed. The time of a run is that of the complete command divided
by the time of the first recipe with the same seed; use it only with ``--jobs 1``. ``PYTHON`` is the
interpreter of a virtual environment with TensorFlow; without it, Keras is not run. Unknown options
are passed on to ``fit``. MNIST is read from ``--data_dir``; without it, MNIST is downloaded to a
temporary folder. The runs are kept in ``--folder``; without it, they are deleted.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from contender import median_and_range, run_command

from mnist_lightning import MNISTDataModule

FOLDER = Path(__file__).parent


def fit_package(config: Path | None, seed: int, options: Namespace) -> tuple[float, float]:
    """Trains a recipe of this package and returns its test accuracy and loss."""
    command = ["-m", "mnist_lightning", "fit", "--data.source=mnist"]
    command += [f"--config={config}"] if config else []
    command += [f"--seed_everything={seed}", f"--data.data_dir={options.data_dir}", *options.rest]
    folder = options.folder / str(config or "default").replace(os.sep, "_") / f"seed_{seed}"
    command += [f"--trainer.default_root_dir={folder}"]
    run_command([sys.executable, *command], env=environment(options))
    results = json.loads((folder / "lightning_logs/version_0/results.json").read_text())
    return results["test/acc"], results["test/loss"]


def fit_keras(seed: int, options: Namespace) -> tuple[float, float]:
    """Trains the notebook in Keras and returns its test accuracy and loss."""
    script = str(FOLDER / "keras_notebook.py")
    command = [options.keras, script, f"--seed={seed}", f"--data_dir={options.data_dir}"]
    result = json.loads(run_command(command, env=environment(options)).splitlines()[-1])
    return result["accuracy"], result["loss"]


def environment(options: Namespace) -> dict[str, str]:
    """Returns the environment of a run, which uses its share of the cores."""
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def main() -> None:
    """Parses the command line, and prints a line for each run and a table."""
    parser = ArgumentParser(description="Trains recipes with several seeds.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at the same time")
    parser.add_argument("--config", type=Path, nargs="+", default=[None], help="recipes to train")
    parser.add_argument("--keras", help="Python interpreter of an environment with TensorFlow")
    parser.add_argument("--keras_seeds", type=int, default=5)
    parser.add_argument("--data_dir", type=Path, help="folder with MNIST; default: download it")
    parser.add_argument("--folder", type=Path, help="where to keep the runs")
    options, rest = parser.parse_known_args()
    options.rest = rest
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = (options.folder or Path(temporary)).absolute()
        options.data_dir = (options.data_dir or Path(temporary, "data")).absolute()
        contenders: dict[str, tuple[Callable[..., tuple[float, float]], int]] = {
            str(config or "default"): (partial(fit_package, config), options.seeds)
            for config in options.config
        }
        if options.keras:
            MNISTDataModule(str(options.data_dir), source="mnist").prepare_data()
            contenders["Keras"] = (fit_keras, options.keras_seeds)

        def timed(fit: Callable[..., tuple[float, float]], seed: int) -> tuple[float, float, float]:
            begin = time.monotonic()
            return *fit(seed, options), time.monotonic() - begin

        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contenders}
        with ThreadPoolExecutor(options.jobs) as pool:
            runs = [
                (name, pool.submit(timed, fit, seed))
                for seed in range(max(seeds for _, seeds in contenders.values()))
                for name, (fit, seeds) in contenders.items()
                if seed < seeds
            ]
            for name, future in runs:
                accuracy, loss, seconds = future.result()
                seed = len(results[name])
                print(f"{name}, seed {seed}: {accuracy:.2%}, loss {loss:.4f}", flush=True)
                results[name].append((100 * accuracy, loss, seconds))
    print("\n| | seeds | test accuracy | test loss | relative time |\n|---|---|---|---|---|")
    *_, reference_times = zip(*next(iter(results.values())), strict=True)
    for name, rows in results.items():
        accuracies, losses, times = zip(*rows, strict=True)
        ratios = [
            seconds / reference for seconds, reference in zip(times, reference_times, strict=False)
        ]
        means = (mean_and_deviation(accuracies, 3) + " %", mean_and_deviation(losses, 4))
        columns = (str(len(rows)), *means, median_and_range(ratios))
        print(f"| {name} | {' | '.join(columns)} |")


def mean_and_deviation(values: tuple[float, ...], digits: int) -> str:
    """Returns the mean and the standard deviation as text."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
