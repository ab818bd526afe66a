"""Figures: tensors and numbers in, a matplotlib ``Figure`` out; and where they go."""
