"""Trained networks for use without PyTorch."""
