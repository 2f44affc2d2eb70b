"""Running a training: recipes, hooks, logs, checks before it starts."""

from .cpu_amp import CpuAmpOptimWrapper
from .hooks import LossScheduleHook, NonFiniteLossHook, StudentCheckpointHook, StudentWeightsHook
from .log_processor import LevelLogProcessor

KeepBatchHook = NonFiniteLossHook
"""The former name of `NonFiniteLossHook`."""

__all__ = [
    "CpuAmpOptimWrapper",
    "KeepBatchHook",
    "LevelLogProcessor",
    "LossScheduleHook",
    "NonFiniteLossHook",
    "StudentCheckpointHook",
    "StudentWeightsHook",
]
