"""What the benchmarks share; standard library only, since Keras has its own world."""

import json
import statistics
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def arguments() -> Namespace:
    """Reads a contender's command line; what is not known stands in ``rest``."""
    parser = ArgumentParser()
    parser.add_argument("--data_dir", type=Path, required=True, help="holds MNIST/raw")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--capture", action="store_true", help="a CUDA graph; the bare loop only")
    known, rest = parser.parse_known_args()
    known.rest = rest
    return known


def run(command: list[str], **options: Any) -> str:
    """Runs a command and returns what it prints, or ends with what was wrong."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    printed: str = done.stdout
    return printed


def median_and_range(values: Sequence[float], digits: int = 2) -> str:
    """Returns them as text."""
    middle, low, high = (
        f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low}-{high})"


def peak_memory() -> float:
    """Returns the most memory that this process has held so far, in MB; needs Linux."""
    # getrusage begins with what the parent held when it started this process.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def report(seconds: float, accuracy: float, imports: float, loss: float | None = None) -> None:
    """Prints the last line, which the benchmark reads.

    Args:
        seconds: From the start of ``fit`` to its end.
        accuracy: On the test images, in [0, 1].
        imports: What :func:`peak_memory` said once everything was imported.
        loss: Cross-entropy of the test images, in nats.
    """
    memory = peak_memory() - imports
    result = {"seconds": seconds, "accuracy": accuracy, "memory": memory, "loss": loss}
    print(json.dumps(result), flush=True)
