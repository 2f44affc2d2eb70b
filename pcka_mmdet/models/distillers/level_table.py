"""The table of levels and losses for the log."""

import io
from collections import defaultdict
from collections.abc import Sequence

from rich.box import ASCII2
from rich.console import Console
from rich.table import Table

from ..levels import Level
from ..outputs import output_size
from ..sources import Record
from .fpn_distiller import FPNDistiller
from .terms import Term


def level_table(distiller: FPNDistiller, student: Record) -> str:
    """One row per level: its outputs on both sides, and each loss's description. The student's record gives sizes."""
    table = Table("level", "student", "teacher", *distiller.terms, box=ASCII2, header_style="")
    for source in dict.fromkeys(sources.student for sources in distiller.levels):
        students: dict[str, Level] = {}
        teachers: dict[str, list[str]] = defaultdict(list)
        for sources, (student_levels, teacher_levels) in distiller.levels.items():
            if sources.student == source:
                students.update({level.name: level for level in student_levels})
                index = f"teachers[{sources.teacher_index}]: " if sources.teacher_index else ""
                whole = not teacher_levels  # it has no levels
                for level in students.values() if whole else teacher_levels:
                    described = sources.teacher if whole else _describe(level, sources.teacher)
                    teachers[level.name].append(index + described)
        names = sorted({*students, *teachers}, key=lambda name: (len(name), name))  # s8 before s16
        for name in names:
            table.add_row(
                source if names == ["stage0"] else name,
                _student_cell(students.get(name), source, student),
                "; ".join(teachers[name]) or "no partner",
                *(_loss_cell(terms, source, name, student) for terms in distiller.terms.values()),
            )
    console = Console(file=io.StringIO(), width=10_000, markup=False, emoji=False, highlight=False)
    console.print(table)
    return console.file.getvalue().rstrip()


def _student_cell(level: Level | None, source: str, student: Record) -> str:
    if level is None:
        return "no partner"
    size = output_size(student[source][level.index]) if source in student else ()  # a teacher of queries pauses
    return ", ".join([_describe(level, source), *(["{}x{}".format(*size)] if size else [])])


def _describe(level: Level, source: str) -> str:
    text = f"output {level.index}" if source == "neck" else f"{source} {level.index}"
    if level.channels is None or source == "head":
        return text
    return f"{text}, {level.channels} {'classes' if source == 'logits' else 'channels'}"


def _loss_cell(terms: Sequence[Term], source: str, name: str, student: Record) -> str:
    """A loss's description at a level; empty if the loss does not read the level."""
    for term in terms:
        if term.sources.student == source and name in {pair.name for pair in term.pairs}:
            known = term.student_key in student
            description = term.loss.describe(output_size(term.of_student(student), term.loss.joint) if known else ())
            return description if term.level_weight == 1 else f"{description}, level weight {term.level_weight:g}"
    return ""
