"""Run folders, their checkpoints and their event files."""
