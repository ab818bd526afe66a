"""Times this package against a bare PyTorch loop, a usual Lightning template and Keras.

    python tests/benchmarks --keras PYTHON

The contenders take turns, round by round. ``PYTHON`` is the interpreter of a virtual environment
with TensorFlow; without it, Keras is not run. Prints two tables and plots images per second over
batch sizes. MNIST is read from ``--data_dir``; without it, MNIST is downloaded to a temporary
folder.
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
from contender import median_and_range, run_command
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mnist_lightning import MNISTDataModule

FOLDER = Path(__file__).parent
CONFIGS = FOLDER.parent.parent / "configs"
BATCH_SIZES = (32, 128, 512, 2048, 8192)
TRAINING_IMAGES = 48_000
PACKAGE = "mnist_lightning"
FAST = "mnist_lightning, fast.yaml"


def contenders(options: Namespace) -> dict[str, list[str]]:
    """Returns the command of each contender by name."""
    commands = {
        PACKAGE: [sys.executable, "fit_command.py"],
        "bare loop": [sys.executable, "bare_loop.py"],
        "template": [sys.executable, "template.py"],
    }
    if options.keras:
        commands["Keras"] = [options.keras, "keras_notebook.py"]
    if torch.cuda.is_available():
        commands["CUDA graph"] = [sys.executable, "bare_loop.py", "--capture"]
    return commands


def train(command: list[str], data_dir: Path, *options: str) -> dict[str, float]:
    """Runs a contender in a temporary folder and returns its result."""
    python, script, *fixed_options = command
    command = [python, str(FOLDER / script), *fixed_options, f"--data_dir={data_dir}", *options]
    with tempfile.TemporaryDirectory() as folder:
        output = run_command(command, cwd=folder)
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def seconds_to_output(arguments: list[str]) -> float:
    """Returns the seconds from the start of a Python process until it prints the time."""
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
    return float(process.stdout.splitlines()[-1]) - begin


def compare(options: Namespace) -> None:
    """Times complete fits and the start, and prints the tables."""
    commands = contenders(options)
    fast = ("--config", str(CONFIGS / "fast.yaml"))
    results: dict[str, list[dict[str, float]]] = {name: [] for name in [*commands, FAST]}
    starts: list[float] = []
    imports: list[float] = []
    fit = ["-m", "mnist_lightning", "fit", "--trainer.callbacks+=first_step.FirstStep"]
    fit += [f"--data.data_dir={options.data_dir}", "--data.source=mnist"]
    only_imports = [
        "-c",
        "import lightning, torchvision, tensorboard, time; print(time.monotonic())",
    ]
    for number in range(options.rounds):
        seed = f"--seed={number}"
        for name, command in commands.items():
            results[name].append(train(command, options.data_dir, seed))
        results[FAST].append(train(commands[PACKAGE], options.data_dir, seed, *fast))
        imports.append(seconds_to_output(only_imports))
        starts.append(seconds_to_output(fit))
        latest = {name: round(rows[-1]["seconds"], 2) for name, rows in results.items()}
        print(f"round {number + 1}: {latest}, start {starts[-1]:.2f}, imports {imports[-1]:.2f}")

    print("\n| | seconds | test accuracy | memory above the imports |\n|---|---|---|---|")
    for name, rows in results.items():
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        accuracy = statistics.mean(columns["accuracy"])
        seconds = median_and_range(columns["seconds"])
        print(f"| {name} | {seconds} | {accuracy:.2%} | {max(columns['memory']):.0f} MB |")

    print("\n| ratio of times | median (range) |\n|---|---|")
    times = {name: [row["seconds"] for row in rows] for name, rows in results.items()}
    times |= {"command to first step": starts, "imports alone": imports}
    pairs = [(PACKAGE, name) for name in commands if name != PACKAGE]
    pairs += [(FAST, "Keras")] if options.keras else []
    pairs += [("command to first step", "imports alone")]
    for first, second in pairs:
        ratios = [a / b for a, b in zip(times[first], times[second], strict=True)]
        print(f"| {first} / {second} | {median_and_range(ratios)} |")


def plot_throughput(options: Namespace) -> None:
    """Plots training images per second over batch sizes, in complete fits of two epochs."""
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, command in contenders(options).items():
        rates = []
        for size in BATCH_SIZES:
            batch = f"--batch_size={size}"
            seconds = train(command, options.data_dir, batch, "--epochs=2")["seconds"]
            rates.append(2 * TRAINING_IMAGES / seconds)
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
    """Returns the name of the GPU, or the number of CPU cores and their name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {(models or [platform.processor()])[0]}"


def main() -> None:
    """Parses the command line, gets MNIST, and measures."""
    parser = ArgumentParser(
        prog="python tests/benchmarks", description="Times this package against others."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keras", help="Python interpreter of an environment with TensorFlow")
    parser.add_argument("--data_dir", type=Path, help="folder with MNIST; default: download it")
    parser.add_argument("--figure", type=Path, default=Path("throughput.png"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.data_dir = (options.data_dir or Path(folder)).absolute()
        MNISTDataModule(str(options.data_dir), source="mnist").prepare_data()
        print(f"{machine()}, torch {torch.__version__}, Python {platform.python_version()}")
        compare(options)
        plot_throughput(options)


if __name__ == "__main__":
    main()
