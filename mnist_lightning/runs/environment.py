"""Describes what a run was started with: versions, device, code and command line."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer

import mnist_lightning

FILE_NAME = "environment.json"
PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "numpy",
    "matplotlib",
    "tensorboard",
)
GIT_TIMEOUT_SECONDS = 5


def describe_environment(trainer: Trainer, command: str) -> dict[str, Any]:
    """Returns a description of this process, as it is saved in ``environment.json``.

    Args:
        trainer: The Trainer.
        command: The command line.
    """
    device = trainer.strategy.root_device
    is_cuda = device.type == "cuda"
    return {
        "command": command,
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {
            "mnist_lightning": mnist_lightning.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
        "device": torch.cuda.get_device_name(device) if is_cuda else str(device),
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "git": _describe_git(),
        "slurm_job": slurm_job(),
        # Where else the run is logged, so that a resumed run continues there.
        "loggers": {
            type(logger).__name__: str(logger.version)
            for logger in trainer.loggers
            if logger.version is not None
        },
    }


def read_environment(folder: Path) -> dict[str, Any]:
    """Returns the content of a run's ``environment.json``, empty if it cannot be read."""
    try:
        environment = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return environment if isinstance(environment, dict) else {}


def logger_versions(folder: Path) -> dict[str, str]:
    """Returns the ``version`` of each logger of a run, by the name of its class.

    Without them, a resumed run is logged as a new one.
    """
    loggers = read_environment(folder).get("loggers")
    return loggers if isinstance(loggers, dict) else {}


def slurm_job() -> str | None:
    """Returns the id of the Slurm batch job of this process, or None."""
    return os.environ.get("SLURM_JOB_ID") if SLURMEnvironment.detect() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _describe_git() -> dict[str, Any] | None:
    """Returns the commit of the working directory, and whether it has other changes."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit.strip(), "has_changes": bool(_git("status", "--porcelain"))}


def _git(*args: str) -> str | None:
    try:
        process = subprocess.run(
            ["git", *args],
            stdin=subprocess.DEVNULL,  # in a sweep, a pipe that a thread reads
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None
