"""The entries of `losses`: one for each teacher, and their loss modules, one for each pair of levels or for all."""

import copy
import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pcka_mmdet.registry import MODELS

from ..levels import Level, LevelPair, choose_strides, pair_levels, read_strides
from ..losses.level_loss import ForeignLoss, LevelLoss
from ..sources import Record

DISTILLER_OPTIONS = ("strides", "level_weight", "source", "teacher")
"""Keys of an entry of `losses` that are no arguments of the loss."""


class Sources(NamedTuple):
    """The sources of the outputs that a loss compares."""

    student: str
    teacher: str
    teacher_index: int = 0


class Entry(NamedTuple):
    """An entry of `losses` for one teacher."""

    config: dict
    kind: type[LevelLoss]
    """Class of the loss; `ForeignLoss` for modules that are no `LevelLoss`."""
    sources: Sources
    given: str
    """The entry's name in the config."""


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

    @property
    def stride(self) -> int | None:
        """Stride of the level; `None` for a joint loss and for sources without strides."""
        return None if self.loss.joint else self.pairs[0].stride

    @property
    def place(self) -> str:
        """The place of the levels, for messages."""
        if self.loss.joint:
            return "on all levels"
        return "" if self.stride is None else f"at stride {self.stride}"

    def of_student(self, record: Record) -> Any:
        """The student's output, or a joint loss's list of outputs."""
        return self._chosen(record[self.student_key], [pair.student for pair in self.pairs])

    def of_teacher(self, record: Record) -> Any:
        """The teacher's output, or a joint loss's list of outputs; of a loss without pairs, the whole source."""
        if not self.loss.paired:
            return record[self.sources.teacher]
        return self._chosen(record[self.sources.teacher], [pair.teacher for pair in self.pairs])

    def _chosen(self, outputs: Sequence[Any], levels: Sequence[Level]) -> Any:
        chosen = [outputs[level.index] for level in levels]
        return chosen if self.loss.joint else chosen[0]


def read_entries(losses: Mapping[str, Mapping], num_teachers: int) -> dict[str, Entry]:
    """The entries of `losses` by name: one for each teacher, unless an entry names one."""
    entries: dict[str, Entry] = {}
    for name, given in losses.items():
        config = copy.deepcopy(dict(given))
        if "type" not in config:
            raise ValueError(f"losses.{name} has no type, only {config}: {_missing_type(name, losses)}")
        kind, index = _level_loss(config), config.get("teacher")
        if index is not None and index not in range(num_teachers):
            raise ValueError(f"losses.{name}.teacher: there are {num_teachers} teachers, counted from 0; got {index}")
        of_student, of_teacher = _read_source(f"losses.{name}.source", kind, config.get("source"))
        for teacher in range(num_teachers) if index is None else [index]:
            # the student's outputs depend on the teacher's queries
            queries = f"queries_{teacher}" if of_student == "queries" and teacher else of_student
            key = f"{name}_{teacher + 1}" if teacher and index is None else name
            if key in entries or (key != name and key in losses):
                raise ValueError(f"losses.{key}: teachers[{teacher}]'s losses.{name} is called so: rename one of them")
            entries[key] = Entry(config, kind, Sources(queries, of_teacher, teacher), name)
    return entries


def _missing_type(name: str, losses: Mapping[str, Mapping]) -> str:
    """Advice about an entry without a type: a misspelt name, or a new loss."""
    named = [key for key in losses if key != name]
    close = difflib.get_close_matches(name, named, n=1)
    if close:
        return f"did you mean losses.{close[0]}?"
    options = f", or an option of {', '.join(f'losses.{key}' for key in named)}" if named else ""
    return f"write losses.{name}=dict(type=...){options}"


def _read_source(option: str, kind: type[LevelLoss], asked: str | None) -> tuple[str, str]:
    """Sources of the student and of the teacher."""
    if asked is not None and asked not in kind.sources:
        expected = f"expected one of {kind.sources}" if kind.sources else "this loss has one source: leave it out"
        raise ValueError(f"{option}: {expected}, got {asked!r}")
    of_teacher = kind.source if isinstance(kind.source, str) else kind.source[1]
    if asked is not None:
        return asked, asked if kind.paired else of_teacher
    return (kind.source, kind.source) if isinstance(kind.source, str) else kind.source


def _level_loss(config: Mapping) -> type[LevelLoss]:
    kind = config["type"]
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(config.get("_scope_")) as registry:
            kind = registry.get(kind)
    if kind is None:
        raise ValueError(f"{config['type']} is no registered loss: {_correction(config['type'])}")
    return kind if isinstance(kind, type) and issubclass(kind, LevelLoss) else ForeignLoss


def _correction(name: str) -> str:
    """Advice about a loss that is not registered: its scope, or the closest of the names in `MODELS`."""
    scope, _, last = name.rpartition(".")
    scoped = [] if scope else [f"{known}.{last}" for known in ("pcka_mmdet", "mmrazor", "mmdet")]
    losses = [key for key, kind in MODELS.module_dict.items() if isinstance(kind, type) and issubclass(kind, LevelLoss)]
    close = [f"pcka_mmdet.{key}" for key in difflib.get_close_matches(last, losses, n=1, cutoff=0.8)]
    suggestions = [*(full for full in scoped if MODELS.get(full) is not None), *close]
    if suggestions:
        return f"did you mean {suggestions[0]!r}?"
    return "check its name" if scope else "write its scope too, such as 'mmrazor.PKDLoss'"


def group_losses(
    ratio: float | Mapping[str, float] | None, sources: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, dict[str, float | None]]]:
    """Groups of losses whose gradients are scaled together, or only measured.

    Args:
        ratio: See `FPNDistiller.prepare`.
        sources: Source of the student by name of the loss.

    Returns:
        The group of each loss: its name, or `all`; none at a source without a named loss. And by source, the ratios.

    Raises:
        ValueError: A named loss does not exist, or the losses that get a ratio are at `roi_head`. A number leaves these
            out, if there are others.
    """
    if isinstance(ratio, Mapping):
        unknown = [name for name in ratio if name not in sources]
        if unknown:
            raise ValueError(f"balance.ratio: there is no loss {unknown}; there are {list(sources)}")
        scaled = {sources[name] for name in ratio}
        groups = {name: name for name, source in sources.items() if source in scaled}
    else:
        used = set(sources.values())
        scaled = set() if ratio is None else used - {"roi_head"} or used
        groups = {name: "all" for name, source in sources.items() if source != "roi_head"}
    if "roi_head" in scaled:
        raise ValueError(
            "balance.ratio: gradients at the source 'roi_head' cannot be balanced, since its stages run one after "
            "another: name only losses at a different source, as in balance=dict(ratio={NAME: 1.0})"
        )
    ratios: dict[str, dict[str, float | None]] = defaultdict(dict)
    for name, group in groups.items():
        ratios[sources[name]][group] = ratio.get(name) if isinstance(ratio, Mapping) else ratio
    return groups, ratios


def build_terms(
    name: str,
    entry: Entry,
    levels: tuple[Sequence[Level], Sequence[Level]],
    strides: str | Sequence[int],
    student_key: str,
) -> list[Term]:
    """Build the loss modules of an entry, with all their parameters, for `levels` of student and teacher."""
    config, sources, joint = entry.config, entry.sources, entry.kind.joint
    arguments = {key: value for key, value in config.items() if key not in DISTILLER_OPTIONS}
    level_weight = _by_stride(f"losses.{name}.level_weight", config.get("level_weight", {}))
    if not entry.kind.paired:
        levels = levels[0], levels[0]
    pairs = {pair.stride or pair.name: pair for pair in pair_levels(*levels, strides, sources[:2])}
    chosen = read_strides(f"losses.{name}.strides", config.get("strides", "auto"))
    chosen = choose_strides(chosen, list(pairs))
    for option, asked in (("strides", chosen), ("level_weight", level_weight)):
        unknown = [stride for stride in asked if stride not in pairs]
        if unknown:
            raise ValueError(f"losses.{name}.{option}: no level at stride {unknown}; there are {list(pairs)}")
    if joint:
        if level_weight:
            raise ValueError(f"losses.{name}.level_weight: this loss reads all its levels at once: leave it out")
        loss = _build(name, arguments, None, "this loss reads all its levels at once")
        compared = tuple(pairs[stride] for stride in chosen)
        loss.prepare([pair.student for pair in compared], [pair.teacher for pair in compared])
        return [Term(name, loss, sources, compared, student_key)]
    terms = []
    for pair in (pairs[stride] for stride in chosen):
        loss = _build(name, arguments, pair.stride, "its levels have no strides")
        # no connector changes a head's outputs
        loss.prepare(*(replace(level, channels=None) for level in pair) if sources.student == "head" else pair)
        key = name if list(pairs) == ["stage0"] else f"{name}_{pair.name}"
        terms.append(Term(key, loss, sources, (pair,), student_key, level_weight.get(pair.stride, 1.0)))
    return terms


def _build(name: str, arguments: Mapping, stride: int | None, no_stride: str) -> LevelLoss:
    """The loss module of an entry at a stride; `no_stride` explains to the user why there is none."""
    config = dict(arguments)
    for argument, value in arguments.items():
        if isinstance(value, Mapping) and value and all(str(key).isdigit() for key in value):
            values = _by_stride(f"losses.{name}.{argument}", value)
            if stride is None:
                raise ValueError(f"losses.{name}.{argument}: {no_stride}: give one value")
            if stride not in values:
                raise ValueError(f"losses.{name}.{argument} names strides {list(values)} but not {stride}: add it")
            config[argument] = values[stride]
    loss = MODELS.build(config)
    return loss if isinstance(loss, LevelLoss) else ForeignLoss(loss)


def _by_stride(option: str, given: Mapping) -> dict[int, Any]:
    """An option by stride. Strides from the command line (`option.8=4`) are strings, which override integer keys."""
    try:
        return {int(str(stride)): value for stride, value in given.items()}
    except (AttributeError, ValueError):
        raise ValueError(f"{option} is by stride, such as {{8: 2}}; got {given}") from None
