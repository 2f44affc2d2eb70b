"""Classes that configs name: losses, distiller and algorithm."""

from .algorithms import FPNDistill
from .distillers import FPNDistiller
from .losses import HeadLoss, LevelLoss, MaskedGenerationLoss, MimicLoss, OwnHeadLoss, PCKALoss, RoIHeadLoss

__all__ = [
    "FPNDistill",
    "FPNDistiller",
    "HeadLoss",
    "LevelLoss",
    "MaskedGenerationLoss",
    "MimicLoss",
    "OwnHeadLoss",
    "PCKALoss",
    "RoIHeadLoss",
]
