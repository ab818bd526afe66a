"""Shows figures in notebooks. Outside an IPython kernel, nothing happens or is imported."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from matplotlib.figure import Figure

_shown: set[str] = set()


def show_figures_of_cells(render_png: Callable[[Figure], bytes]) -> None:
    """Makes a notebook show a figure that is the last value of a cell.

    Notebooks do this themselves only after pyplot was imported.

    Args:
        render_png: Returns the content of a PNG file.
    """
    shell = _kernel_shell()
    if shell is not None:
        formatter = shell.display_formatter.formatters["image/png"]
        if Figure not in formatter:
            formatter.for_type(Figure, render_png)


def show_in_notebook(png: bytes, name: str) -> None:
    """Shows an image below the cell, or updates the one with the same name.

    Args:
        png: Content of a PNG file.
        name: Identifies the image in this process.
    """
    if _kernel_shell() is None:
        return
    display: Any = import_module("IPython.display")
    is_update = name in _shown
    _shown.add(name)
    display.display(display.Image(png, format="png"), display_id=name, update=is_update)


def _kernel_shell() -> Any:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None  # a terminal has none
