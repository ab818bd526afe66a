"""Data sets: checksums and mirrors, verified downloads, and images in memory."""
