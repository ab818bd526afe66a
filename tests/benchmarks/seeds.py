"""Repeats a recipe over seeds and prints what the test images say of it.

    python tests/benchmarks/seeds.py --seeds 20 --keras PYTHON --keras_seeds 5
    python tests/benchmarks/seeds.py --seeds 5 --jobs 2 --config configs/best.yaml

``PYTHON`` is that of a virtual environment with TensorFlow; without it Keras is left out. The data
come from ``--data_dir``, else they are downloaded as the package does it. The runs stay below
``--folder``, or are removed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mnist_lightning import MNISTDataModule

HERE = Path(__file__).parent


def ours(seed: int, options: Namespace) -> tuple[float, float]:
    """Fits with a seed and returns accuracy and loss of the test images."""
    command = ["-m", "mnist_lightning", "fit", f"--seed_everything={seed}", "--data.source=mnist"]
    command += [f"--data.data_dir={options.data_dir}"]
    command += [f"--config={options.config}"] if options.config else []
    folder = options.folder / f"seed_{seed}"
    run([sys.executable, *command, f"--trainer.default_root_dir={folder}"], options)
    results = json.loads((folder / "lightning_logs/version_0/results.json").read_text())
    return results["test/acc"], results["test/loss"]


def keras(seed: int, options: Namespace) -> tuple[float, float]:
    """The same with the notebook in Keras."""
    script = str(HERE / "keras_notebook.py")
    command = [options.keras, script, f"--seed={seed}", f"--data_dir={options.data_dir}"]
    result = json.loads(run(command, options).splitlines()[-1])
    return result["accuracy"], result["loss"]


def run(command: list[str], options: Namespace) -> str:
    """Runs a command and returns what it prints."""
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Reads the command line, and prints a line a seed and a table."""
    parser = ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--keras", help="Python of an environment with TensorFlow")
    parser.add_argument("--keras_seeds", type=int, default=5)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = (options.folder or Path(temporary)).absolute()
        options.data_dir = (options.data_dir or Path(temporary, "data")).absolute()
        contenders = {"ours": (ours, options.seeds)}
        if options.keras:
            MNISTDataModule(str(options.data_dir), source="mnist").prepare_data()
            contenders["Keras"] = (keras, options.keras_seeds)
        rows = []
        for name, (fit, seeds) in contenders.items():
            results = []
            with ThreadPoolExecutor(options.jobs) as pool:
                tests = pool.map(partial(fit, options=options), range(seeds))
                for seed, (accuracy, loss) in enumerate(tests):
                    print(f"{name}, seed {seed}: {accuracy:.2%}, loss {loss:.4f}", flush=True)
                    results.append((100 * accuracy, loss))
            accuracies, losses = zip(*results, strict=True)
            columns = (spread(accuracies, 3) + " %", spread(losses, 4))
            rows.append(f"| {name} | {seeds} | {' | '.join(columns)} |")
    print("\n| | seeds | test accuracy | test loss |\n|---|---|---|---|", *rows, sep="\n")


def spread(values: tuple[float, ...], digits: int) -> str:
    """Returns mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
