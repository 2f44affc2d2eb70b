"""The frozen teacher."""

from .images import Normalisation, size_divisor
from .teacher import Teacher, load_strictly

__all__ = ["Normalisation", "Teacher", "load_strictly", "size_divisor"]
