"""Losses between a student's and a teacher's feature maps."""

from .head_loss import HeadLoss, OwnHeadLoss
from .level_loss import Batch, ForeignLoss, LevelLoss
from .masked_generation_loss import MaskedGenerationLoss
from .mimic_loss import MimicLoss
from .pcka_loss import PCKALoss
from .roi_head_loss import RoIHeadLoss

__all__ = [
    "Batch",
    "ForeignLoss",
    "HeadLoss",
    "LevelLoss",
    "MaskedGenerationLoss",
    "MimicLoss",
    "OwnHeadLoss",
    "PCKALoss",
    "RoIHeadLoss",
]
