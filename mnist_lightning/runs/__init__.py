"""Run folders, the checkpoints in them, and what TensorBoard reads there."""
