"""Functions shared by the benchmarks.

Uses only the standard library, because the Keras benchmark runs in an environment of its own.
"""

import json
import statistics
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def parse_arguments() -> Namespace:
    """Parses the command line of a contender; ``rest`` lists the options it does not define."""
    parser = ArgumentParser()
    parser.add_argument("--data_dir", type=Path, required=True, help="folder with MNIST/raw")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--capture", action="store_true", help="CUDA graph (bare_loop.py only)")
    options, rest = parser.parse_known_args()
    options.rest = rest
    return options


def run_command(command: list[str], **options: Any) -> str:
    """Runs a command and returns its output; exits with its error output if it fails."""
    process = subprocess.run(command, capture_output=True, text=True, **options)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{process.stderr}")
    output: str = process.stdout
    return output


def median_and_range(values: Sequence[float], digits: int = 2) -> str:
    """Returns the median, minimum and maximum as text."""
    median, minimum, maximum = (
        f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({minimum}-{maximum})"


def peak_memory() -> float:
    """Returns the peak memory of this process so far, in MB; requires Linux."""
    # getrusage would start from the memory of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def print_result(
    seconds: float, accuracy: float, import_memory: float, loss: float | None = None
) -> None:
    """Prints the result as a line of JSON, the last line of a contender's output.

    Args:
        seconds: Duration of ``fit``.
        accuracy: Accuracy on the test images, in [0, 1].
        import_memory: :func:`peak_memory` after all imports, in MB; it is subtracted.
        loss: Cross-entropy on the test images, in nats.
    """
    memory = peak_memory() - import_memory
    result = {"seconds": seconds, "accuracy": accuracy, "memory": memory, "loss": loss}
    print(json.dumps(result), flush=True)
