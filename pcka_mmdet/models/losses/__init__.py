"""Distillation losses: on maps, on outputs of heads, and on logits."""

from .foreign_loss import ForeignLoss
from .head_loss import HeadLoss, OwnHeadLoss
from .level_loss import Batch, LevelLoss
from .masked_generation_loss import MaskedGenerationLoss
from .mimic_loss import MimicLoss
from .mmd_loss import MMDLoss
from .patched_loss import PatchedLoss
from .pcka_loss import PCKALoss
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
