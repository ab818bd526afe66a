"""Runs the command line: ``python -m mnist_lightning``, or the script ``mnist_lightning``."""

from mnist_lightning.cli import main


def run() -> None:
    """Executes the command line of this process.

    The script exits with the value that this function returns, so it returns None.
    """
    main()


if __name__ == "__main__":
    run()
