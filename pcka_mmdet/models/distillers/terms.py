"""The entries of `losses`: one for each teacher, and their loss modules, one for each pair of levels or for all."""

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pcka_mmdet.registry import MODELS

from ..levels import Level, LevelPair, pair_levels, read_strides
from ..losses import ForeignLoss, LevelLoss
from ..sources import MAP_SOURCES, Record


class Sources(NamedTuple):
    """What a loss compares."""

    student: str
    """Source of the student's output."""
    teacher: str
    """Source of the teacher's output."""
    teacher_index: int = 0


@dataclass(frozen=True)
class Term:
    """A loss module, and the pairs of levels that it compares: one, or all that a joint loss reads."""

    key: str
    """The loss's name and the level's, such as `NAME_s8`."""
    loss: LevelLoss
    sources: Sources
    pairs: tuple[LevelPair, ...]
    student_key: str
    """The record's key of the student's outputs: the source, or the copy of a group whose gradient is balanced."""
    level_weight: float = 1.0
    """Factor of the loss."""

    @property
    def stride(self) -> int | None:
        """Stride of the level in pixels; `None` for a joint loss and for sources without strides."""
        return None if self.loss.joint else self.pairs[0].stride

    @property
    def place(self) -> str:
        """The place of the levels, for messages."""
        if self.loss.joint:
            return "on all levels"
        return "" if self.stride is None else f"at stride {self.stride}"

    @property
    def student_name(self) -> str:
        """Name of the student's output, for messages."""
        return f"the student's {_of_source(self.sources.student)} {self.place}".rstrip()

    @property
    def teacher_name(self) -> str:
        """Name of the teacher's, likewise."""
        index = self.sources.teacher_index
        which = f"teachers[{index}]'s" if index else "the teacher's"
        return f"{which} {_of_source(self.sources.teacher)} {self.place}".rstrip()

    def of_student(self, record: Record) -> Any:
        """The student's output, or a joint loss's list of outputs."""
        return self._of(record[self.student_key], [pair.student for pair in self.pairs])

    def of_teacher(self, record: Record) -> Any:
        """The teacher's, likewise."""
        return self._of(record[self.sources.teacher], [pair.teacher for pair in self.pairs])

    def _of(self, outputs: Sequence[Any], levels: Sequence[Level]) -> Any:
        chosen = [outputs[level.index] for level in levels]
        return chosen if self.loss.joint else chosen[0]


def _of_source(source: str) -> str:
    return "map" if source in MAP_SOURCES else source


OF_THE_DISTILLER = ("strides", "level_weight", "source", "teacher")
"""Keys of an entry of `losses` that are no arguments of the loss."""


def read_sources(name: str, config: Mapping, teacher_index: int) -> Sources:
    """Sources that the loss of an entry reads from the student and from the teacher of that index.

    Raises:
        ValueError: There is no such loss, or the entry asks for a source that the loss cannot read.
    """
    kind, asked = _level_loss(config), config.get("source")
    if asked is not None and asked not in kind.sources:
        expected = f"expected one of {kind.sources}" if kind.sources else "this loss has one source: leave it out"
        raise ValueError(f"losses.{name}.source: {expected}, got {asked!r}")
    source = asked or kind.source
    return Sources(*((source, source) if isinstance(source, str) else source), teacher_index)


def build_terms(
    name: str,
    config: Mapping,
    sources: Sources,
    levels: tuple[Sequence[Level], Sequence[Level]],
    strides: str | Sequence[int],
    student_key: str,
) -> list[Term]:
    """Build the loss modules of an entry, with all their parameters.

    Args:
        name: The entry's name.
        config: The entry: the loss's own arguments, any of them by stride, and `OF_THE_DISTILLER`.
        sources: See `read_sources`.
        levels: Levels of the student's and of the teacher's source.
        strides: The distiller's `strides`.
        student_key: The record's key of the student's outputs.

    Raises:
        ValueError: Levels do not pair up, or an option names a level that is not there.
    """
    joint = _level_loss(config).joint
    arguments = {key: value for key, value in config.items() if key not in OF_THE_DISTILLER}
    level_weight = _by_stride(f"losses.{name}.level_weight", config.get("level_weight", {}))
    pairs = {pair.stride or pair.name: pair for pair in pair_levels(*levels, strides, sources[:2])}
    chosen = read_strides(f"losses.{name}.strides", config.get("strides", "auto"))
    chosen = list(pairs) if chosen == "auto" else chosen
    for option, asked in (("strides", chosen), ("level_weight", level_weight)):
        unknown = [stride for stride in asked if stride not in pairs]
        if unknown:
            raise ValueError(f"losses.{name}.{option}: no level at stride {unknown}; there are {list(pairs)}")
    if joint:
        if level_weight:
            raise ValueError(f"losses.{name}.level_weight: this loss reads all its levels at once: leave it out")
        loss = _build(name, arguments, None, "this loss reads all its levels at once")
        of_all = tuple(pairs[stride] for stride in chosen)
        loss.prepare([pair.student for pair in of_all], [pair.teacher for pair in of_all])
        return [Term(name, loss, sources, of_all, student_key)]
    terms = []
    for pair in (pairs[stride] for stride in chosen):
        loss = _build(name, arguments, pair.stride, "its levels have no strides")
        # no connector changes a head's outputs
        loss.prepare(*(replace(level, channels=None) for level in pair) if sources.student == "head" else pair)
        key = name if list(pairs) == ["stage0"] else f"{name}_{pair.name}"
        terms.append(Term(key, loss, sources, (pair,), student_key, level_weight.get(pair.stride, 1.0)))
    return terms


def _build(name: str, arguments: Mapping, stride: int | None, why_none: str) -> LevelLoss:
    """The loss module of an entry at a stride; `why_none` says why there is no stride, if there is none."""
    loss = MODELS.build(_arguments_at(name, arguments, stride, why_none))
    return loss if isinstance(loss, LevelLoss) else ForeignLoss(loss)


def _level_loss(config: Mapping) -> type[LevelLoss]:
    """Class of an entry's loss: `ForeignLoss` for modules that are no `LevelLoss`."""
    kind = config["type"]
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(config.get("_scope_")) as registry:
            kind = registry.get(kind)
    if kind is None:
        raise ValueError(f"{config['type']} is no registered loss: {_advice(config['type'])}")
    return kind if isinstance(kind, type) and issubclass(kind, LevelLoss) else ForeignLoss


def _advice(name: str) -> str:
    """What to write in place of a loss that is not registered: its scope, or the closest name of ours."""
    scope, _, last = name.rpartition(".")
    scoped = [] if scope else [f"{other}.{last}" for other in ("pcka_mmdet", "mmrazor", "mmdet")]
    found = next((full for full in scoped if MODELS.get(full) is not None), None)
    ours = [key for key, kind in MODELS.module_dict.items() if isinstance(kind, type) and issubclass(kind, LevelLoss)]
    if found is None and (close := difflib.get_close_matches(last, ours, n=1, cutoff=0.8)):
        found = f"pcka_mmdet.{close[0]}"
    if found is not None:
        return f"did you mean {found!r}?"
    return "check its name" if scope else "write its scope too, such as 'mmrazor.PKDLoss'"


def _arguments_at(name: str, arguments: Mapping, stride: int | None, why_none: str) -> dict[str, Any]:
    """A loss's own config at one stride: arguments given by stride become plain values."""
    plain = dict(arguments)
    for option, value in arguments.items():
        if isinstance(value, Mapping) and value and all(str(key).isdigit() for key in value):
            values = _by_stride(f"losses.{name}.{option}", value)
            if stride is None:
                raise ValueError(f"losses.{name}.{option}: {why_none}: give one value")
            if stride not in values:
                raise ValueError(f"losses.{name}.{option} names strides {list(values)} but not {stride}: add it")
            plain[option] = values[stride]
    return plain


def _by_stride(option: str, given: Mapping) -> dict[int, Any]:
    """An option by stride. Strides from the command line (`option.8=4`) are strings, which override integer keys."""
    try:
        return {int(str(stride)): value for stride, value in given.items()}
    except (AttributeError, ValueError):
        raise ValueError(f"{option} is by stride, such as {{8: 2}}; got {given}") from None


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
