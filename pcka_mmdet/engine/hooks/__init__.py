"""Hooks of MMEngine's runner."""

from .loss_schedule import LossScheduleHook
from .student_checkpoint import StudentCheckpointHook
from .student_weights import StudentWeightsHook

__all__ = ["LossScheduleHook", "StudentCheckpointHook", "StudentWeightsHook"]
