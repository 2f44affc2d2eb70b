"""Readers of the outputs of dense heads. See `HeadReader` for how to add a family."""

from . import families  # registers its readers
from .reader import HeadOutputs, HeadReader, class_entropy, difference_of_heads, reader_of, reads

__all__ = [
    "HeadOutputs",
    "HeadReader",
    "class_entropy",
    "difference_of_heads",
    "families",
    "reader_of",
    "reads",
]
