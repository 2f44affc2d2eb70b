"""What runs a training: hooks, logs, checks before the start."""

from .cpu_amp import CpuAmpOptimWrapper
from .hooks import LossScheduleHook, NonFiniteLossHook, StudentCheckpointHook, StudentWeightsHook
from .log_processor import LevelLogProcessor

KeepBatchHook = NonFiniteLossHook
"""Its former name."""

__all__ = [
    "CpuAmpOptimWrapper",
    "KeepBatchHook",
    "LevelLogProcessor",
    "LossScheduleHook",
    "NonFiniteLossHook",
    "StudentCheckpointHook",
    "StudentWeightsHook",
]
