"""Runs command lines as a user would, and reads what they write."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from drawings import FIGURE_FILES

from mnist_lightning.cli import main

SHORT = ["--data.source", "sample", "--trainer.max_epochs", "1", "--trainer.limit_train_batches=5"]
"""Options of a training that takes a second."""

POSIX = pytest.mark.skipif(os.name != "posix", reason="requires signals, locks or a shell of POSIX")
"""Marks tests that cannot be executed on Windows."""

RUN_FILES = {
    *([".lock"] if os.name == "posix" else []),  # removed on Windows
    "checkpoints",
    "config.yaml",
    "environment.json",
    "history.csv",
    "results.json",
    *FIGURE_FILES,
}
"""The content of a run folder after a fit, without the files of loggers."""


def names(folder: Path) -> set[str]:
    """Returns the names of everything in a folder."""
    return {path.name for path in folder.iterdir()}


def results(run: Path) -> dict[str, Any]:
    """Returns the content of a run's ``results.json``."""
    content: dict[str, Any] = json.loads((run / "results.json").read_text())
    return content


def config(run: Path) -> dict[str, Any]:
    """Returns the content of a run's ``config.yaml``."""
    content: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return content


def slashes(text: str) -> str:
    """Returns a text whose paths are separated by slashes, also on Windows."""
    return text.replace(os.sep, "/")


def fail(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[object, str]:
    """Runs a command line that must fail; returns its exit status and the last line of stderr."""
    with pytest.raises(SystemExit) as caught:
        main(args)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "usage" not in err.lower()
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    return caught.value.code, slashes(last)


def command(*args: str) -> list[str]:
    """Returns the command that runs a command line in a process of its own."""
    return [sys.executable, "-m", "mnist_lightning", *args]


def environment() -> Mapping[str, str]:
    """Returns the environment without mirrors."""
    return {name: value for name, value in os.environ.items() if name != "MNIST_MIRRORS"}
