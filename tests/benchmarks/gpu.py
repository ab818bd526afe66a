"""Measures this package on a GPU, against bare loops, the usual template and two lower bounds.

    python tests/benchmarks/gpu.py --output DIR

The contenders take turns. Prints tables, and writes ``gpu.json`` with all measured values into
``DIR``. MNIST is read from ``--data_dir``; without it, MNIST is downloaded to a temporary folder.
"""

import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bare_loop
import template
import torch
from clock import Clock
from contender import median_and_range
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.cli import MNISTCLI, main

CUDA = torch.cuda.is_available()
TRAINING_IMAGES = 48_000
BATCH_SIZES = (128, 512, 2048, 8192, 16384)
MULTIPLY_ADDS = 354_048
"""Multiplications for one digit: 115,200, 204,800, 32,768 and 1,280 in the four layers."""
FIRST_LAYER = 115_200
"""Those of the first layer, which needs no gradient of its input."""
PARAMETERS = 37_610
Row = dict[str, Any]


def seconds(function: Callable[[], object], repetitions: int = 1) -> float:
    """Returns the seconds of a call, the median of several."""
    durations = []
    for _ in range(repetitions):
        _synchronize()
        begin = time.perf_counter()
        function()
        _synchronize()
        durations.append(time.perf_counter() - begin)
    return statistics.median(durations)


def fit(options: Namespace, *args: str) -> tuple[MNISTCLI, Clock]:
    """Runs ``fit`` in a temporary folder, without printing, and returns it with its clock."""
    data = ["--data.source=mnist", f"--data.data_dir={options.data_dir}"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        root = f"--trainer.default_root_dir={folder}"
        cli = main(["fit", *args, *data, root, "--trainer.callbacks+=clock.Clock"])
    assert isinstance(cli, MNISTCLI)
    (clock,) = (item for item in cli.trainer.callbacks if isinstance(item, Clock))  # type: ignore[attr-defined]
    return cli, clock


def fit_row(options: Namespace, *args: str, seed: int) -> Row:
    """Returns the durations and the test accuracy of a fit."""
    cli, clock = fit(options, f"--seed_everything={seed}", *args)
    step = clock.training / clock.steps
    return {
        "total": clock.total,
        "start": clock.start,
        "warm_up": clock.warm_up,
        "training": step * cli.trainer.global_step,
        "step": step,
        "validation": sum(clock.validation),
        "accuracy": cli.trainer.callback_metrics["test/acc"].item(),
    }


def loop_row(options: Namespace, epochs: int, batch_size: int, capture: bool, *, seed: int) -> Row:
    """Returns the durations and the test accuracy of a bare loop."""
    with contextlib.redirect_stdout(io.StringIO()):
        training, total, accuracy = bare_loop.train(
            options.data, epochs, batch_size, seed, capture and CUDA
        )
    return {
        "total": total,
        "training": training,
        "step": training / (epochs * -(-TRAINING_IMAGES // batch_size)),
        "accuracy": accuracy,
    }


def template_row(options: Namespace, *, seed: int) -> Row:
    """Returns ten times the duration of an epoch of the template, and its test accuracy."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
    ):
        total, accuracy = template.train(options.data_dir, 1, 128, seed)
    return {"total": 10 * total, "accuracy": accuracy}


def compare_fits(options: Namespace) -> dict[str, list[Row]]:
    """Times the default recipe with 128 images per batch, and ``gpu.yaml`` with 500, in turns."""
    short = ("--config=gpu", "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=3")
    contenders: dict[str, tuple[int, Callable[..., Row]]] = {
        "gpu.yaml": (options.seeds, partial(fit_row, options, "--config=gpu")),
        "gpu.yaml, 3 epochs": (options.seeds, partial(fit_row, options, *short)),
        "bare loop, 500": (options.rounds, partial(loop_row, options, 5, 500, False)),
        "CUDA graph, 500": (options.rounds, partial(loop_row, options, 5, 500, True)),
        "default": (options.rounds, partial(fit_row, options)),
        "default, cuda_graph": (
            options.rounds,
            partial(fit_row, options, "--model.cuda_graph=true"),
        ),
        "bare loop, 128": (options.rounds, partial(loop_row, options, 10, 128, False)),
        "CUDA graph, 128": (options.rounds, partial(loop_row, options, 10, 128, True)),
        "template, 128": (1, partial(template_row, options)),
    }
    loop_row(options, 1, 128, False, seed=0)  # loads the libraries
    rows: dict[str, list[Row]] = {name: [] for name in contenders}
    for seed in range(max(options.rounds, options.seeds)):
        for name, (number, measure) in contenders.items():
            if seed < number:
                rows[name].append(measure(seed=seed))
                print(f"{name}, seed {seed}: {json.dumps(rows[name][-1])}", flush=True)
    return rows


def measure_throughput(options: Namespace) -> dict[str, list[float]]:
    """Returns the training images per second, for each batch size."""
    quiet = [
        "--trainer.max_epochs=2",
        "--trainer.limit_val_batches=0",
        "--trainer.limit_test_batches=0",
    ]
    rates: dict[str, list[float]] = {}
    for size in options.batch_sizes:
        for name, cuda_graph in (("fit", "false"), ("fit, cuda_graph", "true")):
            recipe = (f"--data.batch_size={size}", f"--model.cuda_graph={cuda_graph}")
            _, clock = fit(options, *recipe, *quiet)
            rates.setdefault(name, []).append(TRAINING_IMAGES / clock.epochs[1])
        for name, capture in (("bare loop", False), ("CUDA graph", True)):
            training = loop_row(options, 2, size, capture, seed=0)["training"]
            rates.setdefault(name, []).append(2 * TRAINING_IMAGES / training)
    return rates


def dissect_step(options: Namespace, batch_size: int) -> Row:
    """Returns the microseconds of a step of ``MNISTClassifier`` without Trainer, and its kernels.

    ``step`` is its duration, ``kernels`` the time in which the GPU computes, ``launches`` the time
    in which the CPU starts kernels, and ``number`` their number.
    """
    device = torch.device("cuda" if CUDA else "cpu")
    model = MNISTClassifier().to(device)
    model.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer: OptimizerLRScheduler = model.configure_optimizers()
    assert isinstance(optimizer, Optimizer)
    step: Any = optimizer.step
    images = options.data.train_set.to(device)

    def steps(number: int) -> None:
        for positions in torch.split(
            torch.randperm(number * batch_size, device=device), batch_size
        ):

            def closure() -> Tensor:
                loss = model.training_step(images.gather(positions % TRAINING_IMAGES))  # noqa: B023
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                return loss

            step(closure)

    steps(10)
    number = 100
    duration = seconds(lambda: steps(number), 3) / number
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities, acc_events=True) as profiler:
        steps(number)
        _synchronize()
    events = profiler.events()
    assert events is not None
    kernels = [
        event
        for event in events
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    launches = [event for event in events if event.name.startswith("cudaLaunchKernel")]
    return {
        "step": 1e6 * duration,
        "kernels": sum(event.device_time_total for event in kernels) / number,
        "launches": sum(event.cpu_time_total for event in launches) / number,
        "number": len(kernels) / number,
    }


def lower_bounds(batch_size: int) -> Row:
    """Returns the microseconds that the arithmetic and the memory traffic of a step need at least.

    The rates are those of a large matrix product in float32 and of a large copy on this device. The
    traffic is that of the bytes of the images and labels, and of weights and both moments, which
    are read and written once.
    """
    device = "cuda" if CUDA else "cpu"
    size, number = (8192, 2**30) if CUDA else (1024, 2**24)
    factor, source = torch.rand(size, size, device=device), torch.rand(number // 4, device=device)
    target = torch.empty_like(source)
    flops = 2 * size**3 / seconds(lambda: factor @ factor, 5)
    bandwidth = 2 * number / seconds(lambda: target.copy_(source), 5)
    operations = 2 * batch_size * (3 * MULTIPLY_ADDS - FIRST_LAYER)
    traffic = batch_size * (784 + 8) + PARAMETERS * 4 * 3 * 2
    return {
        "flops": flops,
        "bandwidth": bandwidth,
        "arithmetic": 1e6 * operations / flops,
        "memory": 1e6 * traffic / bandwidth,
    }


def time_command(options: Namespace) -> Row:
    """Returns the seconds of the complete command of ``gpu.yaml``, and shows what it prints."""
    command = [sys.executable, "-m", "mnist_lightning", "fit", "--config=gpu"]
    command += ["--data.source=mnist", f"--data.data_dir={options.data_dir}"]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        process = subprocess.run(command, cwd=folder, check=True, stderr=subprocess.PIPE, text=True)
        duration = time.perf_counter() - begin
    print(f"gpu.yaml, complete command: {duration:.1f} s\n{process.stderr}")
    return {"gpu.yaml": duration}


def print_tables(results: dict[str, Any]) -> None:
    """Prints the results as tables."""
    print("\n| | in all | training | a step | test accuracy |\n|---|---|---|---|---|")
    for name, rows in results["fits"].items():
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        accuracy = 100 * statistics.mean(columns["accuracy"])
        deviation = 100 * statistics.stdev(columns["accuracy"]) if len(rows) > 1 else 0
        total = median_and_range(columns["total"])
        training = median_and_range(columns["training"], 3) if "training" in columns else ""
        step = f"{1e3 * statistics.median(columns['step']):.3f} ms" if "step" in columns else ""
        print(
            f"| {name} | {total} s | {training} s | {step} | {accuracy:.2f} ± {deviation:.2f} % |"
        )
    print("\n| | " + " | ".join(map(str, results["batch_sizes"])) + " |")
    for name, rates in results["throughput"].items():
        print(f"| {name} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")
    for size, parts in results["steps"].items():
        print(f"\nBatch size {size}, microseconds:", {k: round(v, 2) for k, v in parts.items()})
    for size, parts in results["lower_bounds"].items():
        print(f"Lower bounds, batch size {size}:", {k: f"{v:.3g}" for k, v in parts.items()})


def _synchronize() -> None:
    if CUDA:
        torch.cuda.synchronize()


def parse_command_line() -> Namespace:
    """Parses the command line."""
    parser = ArgumentParser(description="Measures this package on a GPU.")
    parser.add_argument("--data_dir", type=Path, help="folder with MNIST; default: download it")
    parser.add_argument("--output", type=Path, default=Path.cwd())
    parser.add_argument("--rounds", type=int, default=3, help="of the default recipe")
    parser.add_argument("--seeds", type=int, default=10, help="of gpu.yaml")
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=BATCH_SIZES)
    return parser.parse_args()


def run() -> None:
    """Measures everything."""
    options = parse_command_line()
    with tempfile.TemporaryDirectory() as folder:
        options.data_dir = (options.data_dir or Path(folder)).absolute()
        options.data = MNISTDataModule(str(options.data_dir), source="mnist")
        options.data.prepare_data()
        options.data.setup("fit")
        results: dict[str, Any] = {
            "machine": torch.cuda.get_device_name() if CUDA else "CPU",
            "torch": torch.__version__,
            "batch_sizes": options.batch_sizes,
        }
        parts: dict[str, Callable[[], Any]] = {
            "lower_bounds": lambda: {size: lower_bounds(size) for size in (128, 500)},
            "steps": lambda: {size: dissect_step(options, size) for size in (128, 500)},
            "fits": lambda: compare_fits(options),
            "throughput": lambda: measure_throughput(options),
            "command": lambda: time_command(options),
        }
        options.output.mkdir(parents=True, exist_ok=True)
        for name, measure in parts.items():
            begin = time.perf_counter()
            results[name] = measure()
            print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
            (options.output / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{results['machine']}, torch {results['torch']}")
    print_tables(results)


if __name__ == "__main__":
    run()
