"""The frozen teacher."""

from .images import Normalisation, size_divisor
from .loading import load_strictly
from .teacher import Teacher

__all__ = ["Normalisation", "Teacher", "load_strictly", "size_divisor"]
