"""Pretrained weights, which are part of the package, and conversion of Keras weights."""
