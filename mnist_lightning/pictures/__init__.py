"""Reads people's own pictures of digits and normalizes them to MNIST's format."""

UNSURE_BELOW = 0.9  # predictions with a lower probability are marked as unsure
