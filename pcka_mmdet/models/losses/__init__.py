"""Losses between a student's and a teacher's feature maps."""

from .level_loss import ForeignLoss, LevelLoss
from .mimic_loss import MimicLoss
from .pcka_loss import PCKALoss

__all__ = ["ForeignLoss", "LevelLoss", "MimicLoss", "PCKALoss"]
