"""Times an epoch and measures memory for growing amounts of data, with one and two processes.

    python tests/benchmarks/growth.py

The data are MNIST's training images, repeated. An epoch trains on four fifths of them, validates on
the rest, draws the figures and writes the checkpoints. MNIST is read from ``--data_dir``; without
it, MNIST is downloaded to a temporary folder.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from contender import median_and_range, peak_memory, run_command
from lightning.pytorch import Callback, Trainer

from mnist_lightning import MNISTDataModule, datamodule
from mnist_lightning.cli import main as run_cli
from mnist_lightning.data.datasets import IdxDataset
from mnist_lightning.data.local_files import load

IMPORT_MEMORY = peak_memory()
EPOCHS = {1: 6, 10: 2, 50: 1}  # epochs of a fit for each number of repetitions
SETUPS = ((1, 1), (1, 2), (2, 1))  # processes, threads of each


class EpochRecorder(Callback):
    """Records the duration of each epoch and the memory of this process above the imports."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.starts.append(time.monotonic())

    def on_train_end(self, trainer: Trainer, *args: Any) -> None:
        ends = [*self.starts[1:], time.monotonic()]
        seconds = [end - start for start, end in zip(self.starts, ends, strict=True)]
        record = {"seconds": seconds, "memory": peak_memory() - IMPORT_MEMORY}
        Path(f"process_{trainer.global_rank}.json").write_text(json.dumps(record))


def fit(repetitions: int, processes: int, data_dir: Path) -> None:
    """Trains on MNIST's training images, repeated."""

    def load_repeated(folder: Path, dataset: IdxDataset, *_: Any) -> dict[str, bytes]:
        files = load(folder, dataset)
        for name, header in (("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8)):
            content = files[name]
            count = (60_000 * repetitions).to_bytes(4)
            parts = [content[:4], count, content[8:header], *[content[header:]] * repetitions]
            files[name] = b"".join(parts)
        return files

    vars(datamodule).update(load=load_repeated, fetch=load_repeated)
    command = ["fit", "--data.source=mnist", f"--data.data_dir={data_dir}"]
    command += [f"--trainer.max_epochs={EPOCHS[repetitions]}"]
    command += ["--trainer.callbacks+=growth.EpochRecorder"]
    command += ["--trainer.strategy=ddp", "--trainer.devices=2"] if processes == 2 else []
    run_cli(command)


def measure(repetitions: int, processes: int, threads: int, data_dir: Path) -> tuple[float, float]:
    """Runs a fit and returns the seconds per epoch and the memory of all processes in MB."""
    command = [sys.executable, __file__, f"--repetitions={repetitions}"]
    command += [f"--processes={processes}", f"--data_dir={data_dir}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        run_command(command, cwd=folder, env=environment)
        files = [Path(folder, f"process_{rank}.json") for rank in range(processes)]
        records = [json.loads(file.read_text()) for file in files]
    seconds = records[0]["seconds"]
    memory = sum(record["memory"] for record in records)
    return statistics.median(seconds[1:] or seconds), memory


def main() -> None:
    """Parses the command line, measures, and prints a table."""
    parser = ArgumentParser(description="Times an epoch for growing amounts of data.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data_dir", type=Path, help="folder with MNIST; default: download it")
    parser.add_argument(
        "--repetitions", type=int, choices=EPOCHS, help="run a single fit with so many copies"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes of that fit")
    options = parser.parse_args()
    if options.repetitions:
        fit(options.repetitions, options.processes, options.data_dir)
        return
    cells = [(repetitions, *setup) for repetitions in EPOCHS for setup in SETUPS]
    results: dict[tuple[int, int, int], list[tuple[float, float]]] = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory() as folder:
        data_dir = (options.data_dir or Path(folder)).absolute()
        MNISTDataModule(str(data_dir), source="mnist").prepare_data()
        for round_number in range(1, options.rounds + 1):
            for cell in cells:
                results[cell].append(measure(*cell, data_dir))
                print(f"round {round_number}, {cell}: {results[cell][-1]}", flush=True)
    print("\n| images | processes | threads of each | epoch | memory above the imports |")
    print("|---|---|---|---|---|")
    for (repetitions, processes, threads), rows in results.items():
        seconds, memory = zip(*rows, strict=True)
        columns = (f"{median_and_range(seconds, 1)} s", f"{max(memory):,.0f} MB")
        print(f"| {60_000 * repetitions:,} | {processes} | {threads} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
