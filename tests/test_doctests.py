"""Runs the examples in the docstrings."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import mnist_lightning

MODULES = [
    pytest.param(info.name, marks=pytest.mark.slow if info.name.endswith(".sweeps") else ())
    for info in pkgutil.walk_packages(mnist_lightning.__path__, "mnist_lightning.")
    if not info.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str, workdir: Path) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_classes_have_examples() -> None:
    for name in mnist_lightning.__all__:
        assert ">>>" in (getattr(mnist_lightning, name).__doc__ or ""), name
