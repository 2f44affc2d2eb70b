"""The frozen teacher."""

from .images import Normalisation
from .teacher import Teacher, load_strictly

__all__ = ["Normalisation", "Teacher", "load_strictly"]
