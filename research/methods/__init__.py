"""Distillation methods, each at the best of its settings."""
