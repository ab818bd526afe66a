"""Figures: functions that draw tensors and numbers, and the function that publishes a figure."""
