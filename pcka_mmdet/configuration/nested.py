"""Nested dicts and lists, which configs are made of, and the types in them."""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any


def walk(node: Any) -> Iterator[tuple[str | None, Any]]:
    """Every value within nested dicts and lists, with its key; the key of a list's entry is `None`."""
    entries: Iterable[tuple[str | None, Any]] = node.items() if isinstance(node, dict) else ()
    if isinstance(node, (list, tuple, set)):
        entries = ((None, value) for value in node)
    for key, value in entries:
        yield key, value
        yield from walk(value)


def replaced(node: Any, change: Callable[[Any], Any], kind: type | tuple[type, ...] = str) -> Any:
    """Nested dicts, lists and tuples with each value of a type changed: each string."""
    if isinstance(node, dict):
        return {key: replaced(value, change, kind) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(replaced(value, change, kind) for value in node)
    return change(node) if isinstance(node, kind) else node


def without(node: Any, keys: Container[str]) -> Any:
    """Nested dicts, lists and tuples without the values of some keys."""
    if isinstance(node, dict):
        return {key: without(value, keys) for key, value in node.items() if key not in keys}
    return [without(value, keys) for value in node] if isinstance(node, (list, tuple)) else node


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    """The values of nested dicts by dotted path; a list is one value."""
    if not isinstance(node, dict) or not node:
        return {path: node}
    return {
        name: leaf
        for key, value in node.items()
        for name, leaf in leaves(value, f"{path}.{key}" if path else str(key)).items()
    }


def last_name(kind: Any) -> str:
    """The class name of a `type` (a string or a class), without its scope."""
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]
