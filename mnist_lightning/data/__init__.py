"""Data sets: what their files must be, getting them, and holding them in memory."""
