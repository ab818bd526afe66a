"""Describes what a run was started with: versions, device, code and command line."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
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
        # Where else the run is logged, so that a resumed run continues there.
        "loggers": {
            type(logger).__name__: str(logger.version)
            for logger in trainer.loggers
            if logger.version is not None
        },
    }


def logger_versions(folder: Path) -> dict[str, str]:
    """Returns the ``version`` of each logger of a run, by the name of its class."""
    try:
        loggers = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))["loggers"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}  # the run logs elsewhere as a new one
    return loggers if isinstance(loggers, dict) else {}


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
            ["git", *args], capture_output=True, text=True, timeout=GIT_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None
