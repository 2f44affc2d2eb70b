"""Classes that configs name: losses, distiller, algorithm."""

from .algorithms.fpn_distill import FPNDistill
from .distillers.fpn_distiller import FPNDistiller
from .losses.head_loss import HeadLoss, OwnHeadLoss
from .losses.level_loss import LevelLoss
from .losses.mimic_loss import MaskedGenerationLoss, MimicLoss
from .losses.patch_loss import PatchedLoss
from .losses.pcka_loss import MMDLoss, PCKALoss
from .losses.prediction_loss import PredictionLoss
from .losses.query_loss import QueryLoss
from .losses.rcka_loss import RCKALoss
from .losses.roi_head_loss import RoIHeadLoss

__all__ = [
    "FPNDistill",
    "FPNDistiller",
    "HeadLoss",
    "LevelLoss",
    "MMDLoss",
    "MaskedGenerationLoss",
    "MimicLoss",
    "OwnHeadLoss",
    "PCKALoss",
    "PatchedLoss",
    "PredictionLoss",
    "QueryLoss",
    "RCKALoss",
    "RoIHeadLoss",
]
