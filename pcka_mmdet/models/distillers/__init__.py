"""Distillers: what is compared with what."""

from .fpn_distiller import FPNDistiller

__all__ = ["FPNDistiller"]
