"""Hooks of MMEngine's runner, and its log processor. Importing it registers them."""

from . import console, distillation, nonfinite_loss, similarity, student_checkpoint  # noqa: F401
