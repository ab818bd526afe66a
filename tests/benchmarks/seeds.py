"""Repeats recipes over seeds and prints what the test images say of them, and their time.

    python tests/benchmarks/seeds.py --seeds 20 --keras PYTHON --keras_seeds 5
    python tests/benchmarks/seeds.py --seeds 5 --jobs 2 --config configs/best.yaml
    python tests/benchmarks/seeds.py --config configs/notebook.yaml configs/fast.yaml

Several take turns; their time is that of the whole command, divided by that of the first with the
same seed, and means something where they run one at a time. ``PYTHON`` is that of a virtual
environment with TensorFlow; without it Keras is left out. Other options are handed on to ``fit``.
The data come from ``--data_dir``, else they are downloaded as the package does it. The runs stay
below ``--folder``, or are removed.
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

from contender import median_and_range, run

from mnist_lightning import MNISTDataModule

HERE = Path(__file__).parent


def ours(config: Path | None, seed: int, options: Namespace) -> tuple[float, float]:
    """Fits with a seed and returns accuracy and loss of the test images."""
    command = ["-m", "mnist_lightning", "fit", "--data.source=mnist"]
    command += [f"--config={config}"] if config else []
    command += [f"--seed_everything={seed}", f"--data.data_dir={options.data_dir}", *options.rest]
    folder = options.folder / str(config or "ours").replace(os.sep, "_") / f"seed_{seed}"
    command += [f"--trainer.default_root_dir={folder}"]
    run([sys.executable, *command], env=environment(options))
    results = json.loads((folder / "lightning_logs/version_0/results.json").read_text())
    return results["test/acc"], results["test/loss"]


def keras(seed: int, options: Namespace) -> tuple[float, float]:
    """The same with the notebook in Keras."""
    script = str(HERE / "keras_notebook.py")
    command = [options.keras, script, f"--seed={seed}", f"--data_dir={options.data_dir}"]
    result = json.loads(run(command, env=environment(options)).splitlines()[-1])
    return result["accuracy"], result["loss"]


def environment(options: Namespace) -> dict[str, str]:
    """Returns that of a run, which has its share of the cores."""
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def main() -> None:
    """Reads the command line, and prints a line a run and a table."""
    parser = ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--config", type=Path, nargs="+", default=[None])
    parser.add_argument("--keras", help="Python of an environment with TensorFlow")
    parser.add_argument("--keras_seeds", type=int, default=5)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--folder", type=Path)
    options, rest = parser.parse_known_args()
    options.rest = rest
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = (options.folder or Path(temporary)).absolute()
        options.data_dir = (options.data_dir or Path(temporary, "data")).absolute()
        contenders: dict[str, tuple[Callable[..., tuple[float, float]], int]] = {
            str(config or "ours"): (partial(ours, config), options.seeds)
            for config in options.config
        }
        if options.keras:
            MNISTDataModule(str(options.data_dir), source="mnist").prepare_data()
            contenders["Keras"] = (keras, options.keras_seeds)

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
            for name, run_of in runs:
                accuracy, loss, seconds = run_of.result()
                seed = len(results[name])
                print(f"{name}, seed {seed}: {accuracy:.2%}, loss {loss:.4f}", flush=True)
                results[name].append((100 * accuracy, loss, seconds))
    print("\n| | seeds | test accuracy | test loss | time |\n|---|---|---|---|---|")
    *_, reference = zip(*next(iter(results.values())), strict=True)
    for name, rows in results.items():
        accuracies, losses, times = zip(*rows, strict=True)
        ratios = [mine / other for mine, other in zip(times, reference, strict=False)]
        means = (spread(accuracies, 3) + " %", spread(losses, 4))
        columns = (str(len(rows)), *means, median_and_range(ratios))
        print(f"| {name} | {' | '.join(columns)} |")


def spread(values: tuple[float, ...], digits: int) -> str:
    """Returns mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
