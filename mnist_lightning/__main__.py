"""Runs the command line: ``python -m mnist_lightning``."""

from mnist_lightning.cli import main

if __name__ == "__main__":
    main()
