"""Distillation losses: on maps, on outputs of heads, and on logits."""

from .head_loss import HeadLoss, OwnHeadLoss
from .level_loss import Batch, ForeignLoss, LevelLoss
from .mimic_loss import MaskedGenerationLoss, MimicLoss
from .patch_loss import PatchedLoss
from .pcka_loss import MMDLoss, PCKALoss
from .rcka_loss import RCKALoss
from .roi_head_loss import RoIHeadLoss

__all__ = [
    "Batch",
    "ForeignLoss",
    "HeadLoss",
    "LevelLoss",
    "MMDLoss",
    "MaskedGenerationLoss",
    "MimicLoss",
    "OwnHeadLoss",
    "PCKALoss",
    "PatchedLoss",
    "RCKALoss",
    "RoIHeadLoss",
]
