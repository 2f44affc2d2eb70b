"""Classes that configs name: losses, distiller, algorithm."""

from .algorithms import FPNDistill
from .distillers import FPNDistiller
from .losses import (
    HeadLoss,
    LevelLoss,
    MaskedGenerationLoss,
    MimicLoss,
    MMDLoss,
    OwnHeadLoss,
    PatchedLoss,
    PCKALoss,
    RCKALoss,
    RoIHeadLoss,
)

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
    "RCKALoss",
    "RoIHeadLoss",
]
