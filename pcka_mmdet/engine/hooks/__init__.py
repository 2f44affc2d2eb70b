"""Hooks of MMEngine's runner."""

from .student_checkpoint import StudentCheckpointHook
from .student_weights import StudentWeightsHook

__all__ = ["StudentCheckpointHook", "StudentWeightsHook"]
