"""Metrics that a config's evaluator may name."""

from .faster_coco_metric import FasterCocoMetric

__all__ = ["FasterCocoMetric"]
