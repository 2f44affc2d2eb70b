"""Nested dicts and lists, which configs are made of."""

from collections.abc import Iterator
from typing import Any


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value within nested dicts and lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from walk(value)
