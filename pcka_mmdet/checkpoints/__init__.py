"""Checkpoints: safe reading, atomic writing, the student's file, resuming."""

from . import loaders  # noqa: F401  (the import registers them with MMEngine)
