"""Runs the command line: ``python -m mnist_lightning``, or the script ``mnist_lightning``."""

from mnist_lightning.cli import main


def run() -> None:
    """Executes the command line; returns None, because the script passes the result to sys.exit."""
    main()


if __name__ == "__main__":
    run()
