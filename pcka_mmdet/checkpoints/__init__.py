"""Checkpoint files: read safely, written whole, the student's own, where to resume."""

from . import torchvision_weights  # noqa: F401  (MMEngine's loaders learn of it by being imported)
