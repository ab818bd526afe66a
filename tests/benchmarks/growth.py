"""Times an epoch of more and more data, in one process and in two, in turn.

    python tests/benchmarks/growth.py

The data are MNIST's training images, repeated; an epoch trains on four fifths of them, validates
on the others, draws its figures and writes its checkpoints. MNIST comes from ``--data_dir``, else
it is downloaded as the package does it.
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

from contender import median_and_range, peak_memory, run
from lightning.pytorch import Callback, Trainer

from mnist_lightning import MNISTDataModule
from mnist_lightning.cli import main as command_line
from mnist_lightning.data import download, local_files
from mnist_lightning.data.datasets import IdxDataset

IMPORTS = peak_memory()
EPOCHS = {1: 6, 10: 2, 50: 1}  # by how often the data are repeated
SETUPS = ((1, 1), (1, 2), (2, 1))  # processes, threads of each


class Epochs(Callback):
    """Notes how long each epoch took, and the memory of this process above the imports."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.starts.append(time.monotonic())

    def on_train_end(self, trainer: Trainer, *args: Any) -> None:
        ends = [*self.starts[1:], time.monotonic()]
        seconds = [end - start for start, end in zip(self.starts, ends, strict=True)]
        noted = {"seconds": seconds, "memory": peak_memory() - IMPORTS}
        Path(f"process_{trainer.global_rank}.json").write_text(json.dumps(noted))


def fit(times: int, processes: int, data_dir: Path) -> None:
    """Trains on MNIST's training images, repeated."""
    read = local_files.load

    def repeated(folder: Path, dataset: IdxDataset, *_: Any) -> dict[str, bytes]:
        files = read(folder, dataset)
        for name, header in (("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8)):
            content = files[name]
            number = (60_000 * times).to_bytes(4)
            parts = [content[:4], number, content[8:header], *[content[header:]] * times]
            files[name] = b"".join(parts)
        return files

    vars(local_files).update(load=repeated)
    vars(download).update(fetch=repeated)
    command = ["fit", "--data.source=mnist", f"--data.data_dir={data_dir}"]
    command += [f"--trainer.max_epochs={EPOCHS[times]}", "--trainer.callbacks+=growth.Epochs"]
    command += ["--trainer.strategy=ddp", "--trainer.devices=2"] if processes == 2 else []
    command_line(command)


def measure(times: int, processes: int, threads: int, data_dir: Path) -> tuple[float, float]:
    """Runs a fit; returns the seconds of an epoch, and the memory of all its processes in MB."""
    command = [sys.executable, __file__, f"--times={times}", f"--processes={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        run([*command, f"--data_dir={data_dir}"], cwd=folder, env=environment)
        files = [Path(folder, f"process_{rank}.json") for rank in range(processes)]
        found = [json.loads(file.read_text()) for file in files]
    seconds = found[0]["seconds"]
    return statistics.median(seconds[1:] or seconds), sum(one["memory"] for one in found)


def main() -> None:
    """Reads the command line, measures, and prints a table."""
    parser = ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--times", type=int, help="fits once on so much data instead")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    if options.times:
        fit(options.times, options.processes, options.data_dir)
        return
    cells = [(times, *setup) for times in EPOCHS for setup in SETUPS]
    results: dict[tuple[int, int, int], list[tuple[float, float]]] = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory() as folder:
        data_dir = (options.data_dir or Path(folder)).absolute()
        MNISTDataModule(str(data_dir), source="mnist").prepare_data()
        for number in range(options.rounds):
            for cell in cells:
                results[cell].append(measure(*cell, data_dir))
                print(f"round {number + 1}, {cell}: {results[cell][-1]}", flush=True)
    print("\n| data | processes | threads of each | epoch | memory above the imports |")
    print("|---|---|---|---|---|")
    for (times, processes, threads), rows in results.items():
        seconds, memory = zip(*rows, strict=True)
        columns = (f"{median_and_range(seconds, 1)} s", f"{max(memory):,.0f} MB")
        print(f"| {times}x | {processes} | {threads} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
