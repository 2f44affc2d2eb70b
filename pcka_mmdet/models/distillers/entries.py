"""The entries of a distiller's `losses`, one for each teacher that a loss compares with."""

import copy
import difflib
from collections.abc import Mapping
from typing import NamedTuple

from .terms import Sources, read_sources


class Entry(NamedTuple):
    """An entry of `losses` for one teacher."""

    config: dict
    sources: Sources
    given: str
    """Its name in the config."""


def read_entries(losses: Mapping[str, Mapping], num_teachers: int) -> dict[str, Entry]:
    """The entries by name: one for each teacher, unless an entry names one.

    Args:
        losses: `losses` of `FPNDistiller`.
        num_teachers: Number of teachers.

    Raises:
        ValueError: An entry has no type, names a teacher that is not there, or has the name of a second teacher's; or
            see `read_sources`.
    """
    entries: dict[str, Entry] = {}
    for name, given in losses.items():
        config = copy.deepcopy(dict(given))
        if "type" not in config:
            others = [other for other in losses if other != name]
            close = difflib.get_close_matches(name, others, n=1)
            there = f", or an option of {', '.join(f'losses.{other}' for other in others)}" if others else ""
            advice = f"did you mean losses.{close[0]}?" if close else f"write losses.{name}=dict(type=...){there}"
            raise ValueError(f"losses.{name} has no type, only {config}: {advice}")
        asked = config.get("teacher")
        if asked is not None and asked not in range(num_teachers):
            raise ValueError(f"losses.{name}.teacher: there are {num_teachers} teachers, counted from 0; got {asked}")
        for index in range(num_teachers) if asked is None else [asked]:
            key = f"{name}_{index + 1}" if index and asked is None else name
            if key in entries or (key != name and key in losses):
                raise ValueError(f"losses.{key}: teachers[{index}]'s losses.{name} is called so: rename one of them")
            entries[key] = Entry(config, read_sources(key, config, index), name)
    return entries
