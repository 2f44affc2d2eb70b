"""Several teachers: when each of them teaches, and with what weight."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pcka_mmdet.configuration.distillation import split_teacher

from ..training_state import progress


@dataclass(frozen=True)
class TeacherEntry:
    """A teacher in a config."""

    model: str | dict | Any
    """See `teacher` of `FPNDistill`."""
    checkpoint: str | None
    since: float = 0.0
    """Share of the training at which it begins to teach."""
    until: float = 1.0
    """Share of the training at which it ends; 1 includes the last step."""
    weight: float = 1.0
    """Factor of its losses."""

    def weight_at(self, done: float) -> float:
        """Factor of its losses at a share of the training; 0 while it does not teach."""
        return self.weight if self.since <= done and (done < self.until or self.until == 1) else 0.0


def read_teachers(entries: Sequence[Mapping[str, Any]]) -> list[TeacherEntry]:
    """The teachers of `FPNDistill(teachers=...)`.

    Args:
        entries: Model dicts, or `cfg_path` with overrides, with `ckpt`, `since`, `until` and `weight`. Without `since`
            a teacher begins at the `until` of the one before it, or at 0.

    Raises:
        ValueError: `since` is not below `until`, they are not within [0, 1], a weight is not positive, or a part of the
            training has no teacher.
    """
    teachers: list[TeacherEntry] = []
    begin = 0.0
    for number, entry in enumerate(entries):
        model, options = split_teacher(entry)
        since, until, weight = options.get("since", begin), options.get("until"), options.get("weight", 1.0)
        begin = since if until is None else until
        until = 1.0 if until is None else until
        if not (
            all(isinstance(value, (int, float)) for value in (since, until, weight))
            and 0 <= since < until <= 1
            and 0 < weight < float("inf")
        ):
            raise ValueError(
                f"teachers[{number}]: expected 0 <= since < until <= 1, as shares of the training, and a positive "
                f"weight; got since={since!r}, until={until!r}, weight={weight!r}"
            )
        teachers.append(TeacherEntry(model, options.get("ckpt"), since, until, weight))
    for start in [0.0, *(teacher.until for teacher in teachers if teacher.until < 1)]:
        if not any(teacher.weight_at(start) for teacher in teachers):
            raise ValueError(f"teachers: none of them teaches from {start:g} of the training on: change since or until")
    return teachers


def describe(teachers: Sequence[TeacherEntry]) -> str:
    """When each of several teachers teaches, in a sentence, and how far the training is."""
    times = [
        f"teachers.{number} from {teacher.since:.0%} to {teacher.until:.0%}"
        + (f" with weight {teacher.weight:g}" if teacher.weight != 1 else "")
        for number, teacher in enumerate(teachers)
    ]
    return f"teachers, by share of the training ({progress():.0%} is done): {', '.join(times)}"
