"""Runs the command line: ``python -m mnist_lightning``."""

import gc

from mnist_lightning.cli import main

if __name__ == "__main__":
    gc.freeze()  # what was imported stays; without its 400,000 objects garbage is found early
    try:
        main()
    finally:
        gc.unfreeze()
