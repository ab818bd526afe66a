"""Exports trained networks for use without PyTorch."""
