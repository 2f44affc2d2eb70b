"""The table of levels and losses for the log."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import ASCII2
from rich.console import Console
from rich.table import Table

from ..levels import Level
from ..outputs import output_size
from ..sources import MAP_SOURCES, Record
from .terms import Sources

if TYPE_CHECKING:
    from .fpn_distiller import FPNDistiller
    from .terms import Term


def level_table(distiller: "FPNDistiller", student: Record) -> str:
    """One row per level: its outputs on both sides, and each loss's description.

    Args:
        distiller: A distiller after `prepare`.
        student: Record of the student, for the sizes of its outputs.
    """
    rows = [["level", "student", "teacher", *distiller.terms]]
    for source in dict.fromkeys(sources.student for sources in distiller.levels):
        sides = {sources: levels for sources, levels in distiller.levels.items() if sources.student == source}
        own = {level.name: level for student_levels, _ in sides.values() for level in student_levels}
        others = {sources: {level.name: level for level in levels} for sources, (_, levels) in sides.items()}
        names = sorted({*own, *(name for levels in others.values() for name in levels)}, key=_order)
        for name in names:
            size = output_size(student[source][own[name].index]) if name in own else None
            theirs = [_of_teacher(levels[name], sources) for sources, levels in others.items() if name in levels]
            cells = [_cell(terms, source, name, student) for terms in distiller.terms.values()]
            shown = _level(own[name], source, size) if name in own else "no partner"
            title = source if names == ["stage0"] else name
            rows.append([title, shown, "; ".join(theirs) or "no partner", *cells])
    return _text(rows)


def _text(rows: Sequence[Sequence[str]]) -> str:
    """A table as text, as wide as its cells; the first row is the header."""
    table = Table(*rows[0], box=ASCII2, header_style="")
    for row in rows[1:]:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=10_000, markup=False, emoji=False, highlight=False)
    console.print(table)
    return console.file.getvalue().rstrip()


def _order(name: str) -> tuple[int, str]:
    return len(name), name  # s8 before s16


def _level(level: Level, source: str, size: Sequence[int] | None = None) -> str:
    words = [f"output {level.index}" if source == "neck" else f"{source} {level.index}"]
    if level.channels is not None and source != "head":
        words.append(f"{level.channels} {'channels' if source in MAP_SOURCES else 'classes'}")
    return ", ".join([*words, *(["{}x{}".format(*size)] if size else [])])


def _of_teacher(level: Level, sources: Sources) -> str:
    which = f"teachers[{sources.teacher_index}]: " if sources.teacher_index else ""
    return which + _level(level, sources.teacher)


def _cell(terms: Sequence["Term"], source: str, name: str, student: Record) -> str:
    """A loss's description at a level; empty if the loss does not read the level."""
    for term in terms:
        if term.sources.student == source and name in {pair.name for pair in term.pairs}:
            description = term.loss.describe(output_size(term.of_student(student), term.loss.joint))
            return description if term.level_weight == 1 else f"{description}, level weight {term.level_weight:g}"
    return ""
