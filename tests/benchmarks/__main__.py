"""Times this package against a bare loop, the template way and Keras, in turn, round by round.

    python tests/benchmarks --keras PYTHON

``PYTHON`` is that of a virtual environment with TensorFlow; without it Keras is left out. Prints
two tables and draws images per second over batch sizes. MNIST comes from
``--data_dir``, else it is downloaded as the package does it.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from contender import median_and_range, run
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mnist_lightning import MNISTDataModule

HERE = Path(__file__).parent
CONFIGS = HERE.parent.parent / "configs"
BATCH_SIZES = (32, 128, 512, 2048, 8192)
TRAINED = 48_000


def contenders(options: Namespace) -> dict[str, list[str]]:
    """Returns the command of each contender by name."""
    here = [sys.executable]
    commands = {
        "ours": [*here, "ours.py"],
        "bare loop": [*here, "bare_loop.py"],
        "template": [*here, "template.py"],
    }
    if options.keras:
        commands["Keras"] = [options.keras, "keras_notebook.py"]
    if torch.cuda.is_available():
        commands["CUDA graph"] = [*here, "bare_loop.py", "--capture"]
    return commands


def train(command: list[str], data_dir: Path, *options: str) -> dict[str, float]:
    """Runs a contender in a folder of its own and returns what it reports."""
    python, script, *fixed = command
    command = [python, str(HERE / script), *fixed, f"--data_dir={data_dir}", *options]
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, float] = json.loads(run(command, cwd=folder).splitlines()[-1])
    return result


def start(arguments: list[str]) -> float:
    """Returns the seconds until a Python process prints the time."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        path = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=path, stdout=subprocess.PIPE, text=True
        )
        return float(done.stdout.splitlines()[-1]) - begin


def compare(options: Namespace) -> None:
    """Times whole fits and prints the tables."""
    commands = contenders(options)
    fast = ("--config", str(CONFIGS / "fast.yaml"))
    results: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    results["ours, fast.yaml"] = []
    starts: list[float] = []
    imports: list[float] = []
    fit = ["-m", "mnist_lightning", "fit", "--trainer.callbacks+=first_step.FirstStep"]
    fit += [f"--data.data_dir={options.data_dir}", "--data.source=mnist"]
    reference = ["-c", "import lightning, torchvision, tensorboard, time; print(time.monotonic())"]
    for number in range(options.rounds):
        seed = f"--seed={number}"
        for name, command in commands.items():
            results[name].append(train(command, options.data_dir, seed))
        results["ours, fast.yaml"].append(train(commands["ours"], options.data_dir, seed, *fast))
        imports.append(start(reference))
        starts.append(start(fit))
        latest = {name: round(rows[-1]["seconds"], 2) for name, rows in results.items()}
        print(f"round {number + 1}: {latest}, start {starts[-1]:.2f}, imports {imports[-1]:.2f}")

    print("\n| | seconds | test accuracy | memory above the imports |\n|---|---|---|---|")
    for name, rows in results.items():
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        accuracy = statistics.mean(columns["accuracy"])
        timed = median_and_range(columns["seconds"])
        print(f"| {name} | {timed} | {accuracy:.2%} | {max(columns['memory']):.0f} MB |")

    print("\n| ratio | median (range) |\n|---|---|")
    seconds = {name: [row["seconds"] for row in rows] for name, rows in results.items()}
    pairs = [("ours", other) for other in commands if other != "ours"]
    pairs += [("ours, fast.yaml", "Keras")] if options.keras else []
    seconds["command to first step"], seconds["the imports alone"] = starts, imports
    pairs.append(("command to first step", "the imports alone"))
    for ours, other in pairs:
        ratios = [a / b for a, b in zip(seconds[ours], seconds[other], strict=True)]
        print(f"| {ours} / {other} | {median_and_range(ratios)} |")


def draw(options: Namespace) -> None:
    """Draws images per second, in fits of two epochs with all that belongs to them."""
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, command in contenders(options).items():
        rates = []
        for size in BATCH_SIZES:
            batch = f"--batch_size={size}"
            seconds = train(command, options.data_dir, batch, "--epochs=2")["seconds"]
            rates.append(2 * TRAINED / seconds)
            print(f"{name}, batch size {size}: {rates[-1]:,.0f} images/s")
        axes.plot(BATCH_SIZES, rates, "o-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="batch size", ylabel="training images per second")
    axes.set_xticks(BATCH_SIZES, [str(size) for size in BATCH_SIZES])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.grid(color="0.9")
    axes.set_title(f"Two epochs with validation on {machine()}", fontsize=9)
    axes.legend()
    figure.savefig(options.figure)


def machine() -> str:
    """Returns what the benchmark runs on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {(models or [platform.processor()])[0]}"


def main() -> None:
    """Reads the command line, gets MNIST, and measures."""
    parser = ArgumentParser(prog="python tests/benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keras", help="Python of an environment with TensorFlow")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("throughput.png"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.data_dir = (options.data_dir or Path(folder)).absolute()
        MNISTDataModule(str(options.data_dir), source="mnist").prepare_data()
        print(f"{machine()}, torch {torch.__version__}, Python {platform.python_version()}")
        compare(options)
        draw(options)


if __name__ == "__main__":
    main()
