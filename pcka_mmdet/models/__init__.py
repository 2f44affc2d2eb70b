"""What is registered for configs: losses, the distiller and the algorithm."""

from .algorithms import FPNDistill
from .distillers import FPNDistiller
from .losses import HeadLoss, LevelLoss, MaskedGenerationLoss, MimicLoss, PCKALoss

__all__ = [
    "FPNDistill",
    "FPNDistiller",
    "HeadLoss",
    "LevelLoss",
    "MaskedGenerationLoss",
    "MimicLoss",
    "PCKALoss",
]
