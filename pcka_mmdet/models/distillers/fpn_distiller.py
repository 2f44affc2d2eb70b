"""Losses on the pairs of a student's and a teacher's levels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from mmengine.dist import get_world_size
from mmrazor.models.distillers import BaseDistiller
from torch import Tensor, nn

from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.registry import MODELS

from ..balance import GradientBalance
from ..detector_parts import dense_head
from ..heads import reader_of
from ..levels import Level, read_strides, source_levels
from ..losses.level_loss import Batch
from ..outputs import in_float32, output_size, tensors, zero_of
from ..queries import Queries
from ..sources import Record, SourceRecorder
from ..training_state import iteration
from .terms import Sources, Term, build_terms, group_losses, read_entries

FIRST_ITERATIONS = 10
"""Until then, a loss without a usable level is an error. Later it is a warning, since a resumed training may begin with
a small batch."""


@dataclass(frozen=True)
class TeacherStep:
    """A teacher's part in one step."""

    record: Record | None
    """Its sources; `None` while it does not teach."""
    batch: Batch
    weight: float = 1.0
    """Factor of its losses."""
    changed: bool = False
    """Whether it begins or ends to teach in this step."""


@MODELS.register_module()
class FPNDistiller(BaseDistiller):
    """Applies each configured loss to the outputs of student and teacher at levels of equal stride.

    `prepare` builds one module for each loss and level, with all its parameters (a connector where numbers of channels
    differ), before optimizer, DDP and EMA are set up.

    Args:
        losses: Loss configs by name; `None` leaves a loss out. A loss is a `LevelLoss`, or any module that is called
            with the student's and the teacher's output. Any argument may be given by stride (`{8: 16, 16: 8}`).
            Besides the loss's arguments an entry may hold:

            - `strides`: the levels that it is applied to, of those distilled.
            - `level_weight`: `{stride: factor}`, 1 where a stride is not named.
            - `source`: the source to read instead of the loss's default.
            - `teacher`: index of one teacher. Without it each teacher gets a copy of the loss: `NAME`, `NAME_2`, ...
        strides: The levels to distil, `'auto'` for all that both sides have, `'finest'` for the finest two of these; a
            single one needs no list.
        init_cfg: See `mmengine.model.BaseModule`.

    Raises:
        ValueError: There is no loss, the name of one contains "loss" or is no identifier, or `strides` is of another
            kind.
    """

    def __init__(
        self, losses: dict[str, dict], strides: str | int | Sequence[int] = "auto", init_cfg: dict | None = None
    ):
        super().__init__(init_cfg)
        self._left_out = {name for name, loss in losses.items() if loss is None}
        losses = {name: loss for name, loss in losses.items() if loss is not None}
        if not losses:
            raise ValueError("FPNDistiller needs a loss, such as losses=dict(NAME=dict(type=TYPE))")
        misnamed = [name for name in losses if "loss" in name or not name.isidentifier()]
        if misnamed:  # MMEngine sums all keys that contain "loss", and keys of metrics may contain the loss's name
            raise ValueError(
                f"names of losses are identifiers without 'loss', which is put before them, such as neck_1; got "
                f"{misnamed}"
            )
        self.loss_configs = losses
        self.strides = read_strides("strides", strides)
        self.levels: dict[Sources, tuple[list[Level], list[Level]]] = {}  # of the student and of a teacher
        self.terms: dict[str, list[Term]] = {}
        """Loss modules with their pairs of levels, by name of the loss."""
        self.factor = 1.0
        """Factor of all losses; `LossScheduleHook` sets it."""
        self.losses = nn.ModuleDict()
        self.balances = nn.ModuleDict()  # by source of the student
        self.recorder: SourceRecorder | None = None  # of the student's sources
        self.inactive: dict[str, str] = {}
        """Warnings about degenerate outputs, by key of the term."""
        self._ever_active: set[str] = set()  # losses that had a usable level in some batch
        self._teachers_of: dict[str, set[int]] = defaultdict(set)  # by the record's key of a group of losses
        self._suffixes: dict[str, str] = {}  # of the names of a loss's metrics

    def prepare(
        self,
        student: nn.Module,
        teachers: Sequence[nn.Module],
        ratio: float | Mapping[str, float] | None = MappingProxyType({}),
        by_output: bool = False,
        scale: int = 1,
    ) -> None:
        """Pair the levels of student and teacher, build the losses, and register the recorder of the student's sources.

        Args:
            student: The student.
            teachers: One or several.
            ratio: Norm of the losses' gradient over the norm of the task's, at each source of the student: of all
                losses together, or by name of the loss. Losses that are not named are not scaled. A number scales none
                at `roi_head`. `None` scales none: all are measured, for the log. See `GradientBalance`.
            by_output: Scale each kind of a head's outputs (class scores, boxes, quality) on its own.
            scale: Side of the teachers' images over that of the student's.

        Raises:
            ValueError: A model lacks a source, levels do not pair up, or an option names a level, a loss or a teacher
                that does not exist.
        """
        entries = read_entries(self.loss_configs, len(teachers))
        if isinstance(ratio, Mapping):  # a number holds for the losses of all teachers
            ratio = {name: ratio[entry.given] for name, entry in entries.items() if entry.given in ratio} | dict(ratio)
            ratio = {name: value for name, value in ratio.items() if name not in self._left_out}
        groups, ratios = group_losses(ratio, {name: entry.sources.student for name, entry in entries.items()})
        kinds = {"head": reader_of(dense_head(student)).kinds} if by_output and "head" in ratios else {}
        self.balances.update({one: GradientBalance(by_group, kinds.get(one, ())) for one, by_group in ratios.items()})
        for name, entry in entries.items():
            sources, student_key = entry.sources, entry.sources.student
            if sources not in self.levels:
                teacher_levels = source_levels(teachers[sources.teacher_index], sources.teacher, scale)
                self.levels[sources] = source_levels(student, sources.student), teacher_levels
            elif sources.teacher == "queries":
                raise ValueError(f"losses.{entry.given}: another loss reads the teacher's queries too: leave one out")
            if name in groups:
                student_key = f"{sources.student}/{groups[name]}"
                self._teachers_of[student_key].add(sources.teacher_index)
            self.terms[name] = build_terms(name, entry, self.levels[sources], self.strides, student_key)
            for term in self.terms[name]:
                if term.key in self.losses:
                    raise ValueError(
                        f"losses.{entry.given}: another loss is called {term.key!r} too: rename one of them"
                    )
                self.losses[term.key] = term.loss
        first: dict[str | type, str] = {}
        for name, terms in self.terms.items():
            first.setdefault(terms[0].loss.metric or type(terms[0].loss), name)
        self._suffixes = {name: "" if name in first.values() else f"_{name}" for name in self.terms}
        forks = {source: balance.fork for source, balance in self.balances.items()}
        observed = {"neck"} if getattr(student, "neck", None) is not None else set()  # see FPNDistill.observe_maps
        recorded = {sources.student for sources in self.levels} | observed
        self.recorder = SourceRecorder(student, sorted(recorded), forks)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Load the averages of groups that both models have. `SyncNormHook` of MMDetection loads only batch norms."""
        averages = {f"{prefix}balances.{key}": value.clone() for key, value in self.balances.state_dict().items()}
        for key in [key for key in state_dict if key.startswith(f"{prefix}balances.") and key not in averages]:
            del state_dict[key]
        for key, value in averages.items():
            state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def all_terms(self) -> list[Term]:
        """The loss modules of all losses, with their pairs of levels."""
        return [term for terms in self.terms.values() for term in terms]

    def teacher_sources(self, index: int) -> set[str]:
        """Sources that the losses read from the teacher of that index, and `scores`."""
        read = {sources.teacher for sources in self.levels if sources.teacher_index == index}
        of_teacher = (term.loss for term in self.all_terms if term.sources.teacher_index == index)
        return read | ({"scores"} if any(loss.reads_scores for loss in of_teacher) else set())

    def needs(self, index: int) -> bool:
        """Whether the teacher of that index has to run: one of its losses has weight."""
        return any(self._has_weight(term) for term in self.all_terms if term.sources.teacher_index == index)

    def general_queries(self, index: int) -> int:
        """Number of general queries that the losses compare with the teacher of that index."""
        return max(term.loss.general for term in self.all_terms if term.sources.teacher_index == index)

    def predicted_classes(self, index: int) -> set[int] | None:
        """Classes of the teacher of that index whose boxes the losses read; `None`: all."""
        terms = [term for term in self.all_terms if term.sources[1:] == ("predictions", index)]
        of_losses = [getattr(term.loss, "classes", None) for term in terms]
        return {of_teacher for pairs in of_losses for _, of_teacher in pairs} if terms and all(of_losses) else None

    def shared_queries(self, records: Sequence[Record | None]) -> dict[str, list[Queries]]:
        """The queries of the teachers as the student's decoder takes them, by source of the student."""
        shared = {}
        for term in self.all_terms:
            record = records[term.sources.teacher_index]
            if term.sources.teacher == "queries" and record is not None and self._has_weight(term):
                shared[term.sources.student] = [term.loss.connected_queries(one) for one in record["shared_queries"]]
        return shared

    def _has_weight(self, term: Term) -> bool:
        return self.factor != 0 and term.level_weight != 0 and term.loss.active

    def compute_distill_losses(self, student: Record, teachers: Sequence[TeacherStep]) -> dict[str, Tensor]:
        """Losses of one step, from outputs in float32 or wider, and the losses' metrics.

        Returns:
            `loss_{name}_s{stride}` for every loss and level (`loss_{name}` where there is no stride), always the same
            keys; an inactive one is an exact zero of all its parameters (see `zero_of`). Then the metrics.

        Raises:
            ValueError: A loss has no usable level, and had none in any batch before. After the first iterations of a
                training, and with several processes, this is a warning.
        """
        results: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        with torch.autocast(next(tensors(student)).device.type, enabled=False):
            for name, terms in self.terms.items():
                step = teachers[terms[0].sources.teacher_index]
                wanted = [term for term in terms if step.record is not None and self._has_weight(term)]
                usable = self._usable(name, wanted, student)
                for term in terms:
                    if term not in usable:
                        results[f"loss_{term.key}"] = zero_of(term.loss.parameters(), next(tensors(student)))
                        continue
                    sides = in_float32(term.of_student(student)), in_float32(term.of_teacher(step.record))
                    value = term.loss(*sides, replace(step.batch, stride=term.stride))
                    results[f"loss_{term.key}"] = step.weight * self.factor * term.level_weight * value
                metrics.update(self._named_metrics(name, usable))
        for source, balance in self.balances.items():
            self._set_factors(source, balance, teachers)
            suffix = f"_{source}" if len(self.balances) > 1 else ""
            metrics.update({f"{key}{suffix}": value for key, value in balance.metrics().items()})
        return {**results, **metrics}

    def problem_of_scale(self) -> str | None:
        """Why the losses cannot read teachers of larger images; `None` if they can."""
        names = [name for name, terms in self.terms.items() if not terms[0].loss.reads_larger_images]
        at_rois = [name for name, terms in self.terms.items() if terms[0].sources.teacher == "roi_head"]
        if names := [*names, *at_rois]:
            return f"the losses {names} read the teacher's RoI head, whose proposals are in pixels: leave them out"
        return None

    def _set_factors(self, source: str, balance: GradientBalance, teachers: Sequence[TeacherStep]) -> None:
        """Pass this step's factors; reset the groups whose teacher changed."""
        for name in balance.ratios:
            steps = [teachers[index] for index in self._teachers_of[f"{source}/{name}"]]
            balance.factors[name] = self.factor * max(step.weight for step in steps)
            if any(step.changed for step in steps):
                balance.restart(name)

    def _named_metrics(self, name: str, used: Sequence[Term]) -> dict[str, Tensor]:
        """`METRIC_s8` of each level used, and `METRIC`, their mean; a second loss of the metric has `METRIC_NAME`."""
        suffix = self._suffixes[name]
        metrics: dict[str, Tensor] = {}
        values: dict[str, list[Tensor]] = defaultdict(list)
        for term in used:
            for metric, value in term.loss.metrics().items():
                metrics[f"{metric}{suffix}{term.key.removeprefix(name)}"] = value
                values[f"{metric}{suffix}"].append(value)
        return metrics | {metric: torch.stack(levels).mean() for metric, levels in values.items()}

    def _usable(self, name: str, wanted: Sequence[Term], student: Record) -> list[Term]:
        """The terms whose outputs are not degenerate. Warns once about each degenerate one."""
        problems = {}
        for term in wanted:
            problem = term.loss.problem(output_size(term.of_student(student), term.loss.joint))
            if problem is not None:
                problems[term.key] = f"{term.place} {problem}".lstrip()
        usable = [term for term in wanted if term.key not in problems]
        if usable:
            self._ever_active.add(name)
        elif (
            wanted
            and name not in self._ever_active
            and iteration() < FIRST_ITERATIONS
            and get_world_size() == 1  # more processes would wait for this one
        ):
            raise ValueError(f"no level is left for loss {name!r}: {'; '.join(problems.values())}")
        for key, message in problems.items():
            if key not in self.inactive:
                self.inactive[key] = f"loss {name!r}: {message}. It is 0 there"
                warn(self.inactive[key])
        return usable
