"""Checkpoints: safe reading, atomic writing, the student's file, resuming."""

from . import files  # noqa: F401  (the import registers its loaders with MMEngine)
