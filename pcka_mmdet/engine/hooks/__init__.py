"""Hooks of MMEngine's runner."""

from .balance_advice import BalanceAdviceHook
from .housekeeping import FreshMetricsHook, SeparateClippingHook
from .loss_schedule import LossScheduleHook
from .nonfinite_loss import NonFiniteLossHook
from .progress_bar import ProgressHook
from .similarity import SimilarityHook
from .student_checkpoint import StudentCheckpointHook
from .student_weights import StudentWeightsHook

__all__ = [
    "BalanceAdviceHook",
    "FreshMetricsHook",
    "LossScheduleHook",
    "NonFiniteLossHook",
    "ProgressHook",
    "SeparateClippingHook",
    "SimilarityHook",
    "StudentCheckpointHook",
    "StudentWeightsHook",
]
