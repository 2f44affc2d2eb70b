"""Readers of the outputs of dense heads. See `HeadReader` for how to add a family."""

from . import families  # registers its readers
from .reader import (
    ON_MAPS,
    HeadOutputs,
    HeadReader,
    class_entropy,
    difference_of_heads,
    reader_of,
    reads,
    without_advice,
)

__all__ = [
    "ON_MAPS",
    "HeadOutputs",
    "HeadReader",
    "class_entropy",
    "difference_of_heads",
    "families",
    "reader_of",
    "reads",
    "without_advice",
]
