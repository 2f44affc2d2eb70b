"""Distillation algorithms: student, teacher and distiller wired together."""

from .fpn_distill import FPNDistill

__all__ = ["FPNDistill"]
