"""Checkpoints: safe reading, atomic writing, the student's file, resuming."""

from . import torchvision_weights  # noqa: F401  (the import registers a loader with MMEngine)
