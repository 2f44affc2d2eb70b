"""Distillers: they pair levels of student and teacher, and apply losses to the pairs."""

from .fpn_distiller import FPNDistiller, TeacherStep

__all__ = ["FPNDistiller", "TeacherStep"]
