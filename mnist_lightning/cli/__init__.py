"""The command line."""

from mnist_lightning.cli.main import MNISTCLI, main

__all__ = ["MNISTCLI", "main"]
