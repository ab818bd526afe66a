"""The process of a fit in a sweep: ``python -m mnist_lightning.sweeps.trial``.

It ends when the process of the sweep ends, even if that was killed: then its standard input, a
pipe, is closed.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from mnist_lightning.errors import UserError


def class_path(cls: type) -> str:
    """Returns ``MODULE:NAME``, from which another process can import a class.

    Raises:
        UserError: If it cannot, such as a class that is defined in a notebook or in a function.
    """
    module = cls.__module__
    if module == "__main__":  # another process imports the program by its name
        main = sys.modules["__main__"]
        spec, file = main.__spec__, getattr(main, "__file__", None)
        module = spec.name if spec else Path(file or "").stem.replace(".", "-")
    path = f"{module}:{cls.__qualname__}"
    if "<locals>" in path or not module.replace(".", "_").isidentifier():
        raise UserError(
            f"the trials of a sweep cannot import {cls.__qualname__}; define it in a module, "
            "outside of functions and notebooks"
        )
    return path


def import_class(path: str) -> Any:
    """Imports the class that ``class_path`` describes."""
    module, _, name = path.partition(":")
    value: Any = import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def stop_with_parent() -> None:
    """Ends this process by SIGTERM as soon as its standard input is closed."""
    os.read(sys.stdin.fileno(), 1)  # sys.stdin.read would hold a lock, which aborts Python at exit
    os.kill(os.getpid(), signal.SIGTERM)


def run() -> None:
    """Executes a command line whose first two arguments are the classes of model and data."""
    from mnist_lightning.cli import main  # takes seconds

    model, data, *args = sys.argv[1:]
    classes = import_class(model), import_class(data)
    # After the imports: on Windows, some libraries wait for a standard input that is being read.
    Thread(target=stop_with_parent, daemon=True).start()
    main(args, *classes)


if __name__ == "__main__":
    run()
