"""Weights that come with the package, and weights that come from Keras."""
