"""The frozen teacher."""

from .images import Normalisation, size_divisor
from .teacher import Teacher

__all__ = ["Normalisation", "Teacher", "size_divisor"]
