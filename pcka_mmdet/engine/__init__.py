"""What runs a training: hooks, logs, checks before the start."""

from .cpu_amp import CpuAmpOptimWrapper
from .hooks import LossScheduleHook, StudentCheckpointHook, StudentWeightsHook
from .log_processor import LevelLogProcessor
from .nonfinite import KeepBatchHook

__all__ = [
    "CpuAmpOptimWrapper",
    "KeepBatchHook",
    "LevelLogProcessor",
    "LossScheduleHook",
    "StudentCheckpointHook",
    "StudentWeightsHook",
]
