"""Hooks of MMEngine's runner, and its log processor."""

from .console import FreshMetricsHook, LevelLogProcessor, ProgressHook
from .distillation import BalanceAdviceHook, LossScheduleHook, SeparateClippingHook
from .nonfinite_loss import NonFiniteLossHook
from .similarity import SimilarityHook
from .student_checkpoint import StudentCheckpointHook, StudentWeightsHook

EVERY_TRAINING = (NonFiniteLossHook, SimilarityHook, BalanceAdviceHook, SeparateClippingHook, FreshMetricsHook)
"""Hooks that `run_training` adds, with their default options, where a config has none of the kind."""

__all__ = [
    "EVERY_TRAINING",
    "BalanceAdviceHook",
    "FreshMetricsHook",
    "LevelLogProcessor",
    "LossScheduleHook",
    "NonFiniteLossHook",
    "ProgressHook",
    "SeparateClippingHook",
    "SimilarityHook",
    "StudentCheckpointHook",
    "StudentWeightsHook",
]
