"""Refusal of losses that are not finite."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmrazor.models.algorithms import BaseAlgorithm
from torch import Tensor
from torch.autograd import Variable

from ..distillers.terms import Term
from ..outputs import ADVICE, HostCopy, tensors
from ..sources import MAP_SOURCES, Record

TEACHER_ADVICE = "Evaluate the teacher (--check-teacher); if it is sound, write teacher_precision='bf16' or 'fp32'"
"""For outputs of a teacher that are not finite, where the student's are."""


class NonfiniteGuard(BaseAlgorithm):
    """An algorithm whose step fails if the sum of its losses is not finite.

    The backward pass raises a FloatingPointError at its end, so that the host does not wait for the losses before it;
    where a hook skips the step, gradients become NaN. Of several processes the failing one raises before it reduces its
    last gradients: the rest wait for them, and do not step.
    """

    skips_nonfinite = False  # set by NonFiniteLossHook
    _explain_distillation: Callable[[], str | None] | None = None
    """Message about losses of the distillation that are not finite; holds the outputs of the last step."""
    _nonfinite: Callable[[], str | None] | str | None = None
    """The value of `nonfinite`, or the function that computes it."""
    _guards_reduction = False

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses as MMEngine does, and watch the backward pass of the sum."""
        loss, log = super().parse_losses(losses)
        total, parsed = HostCopy(loss), dict(log)
        self._nonfinite = lambda: None if math.isfinite(total.read()) else self._explain(parsed)
        if not loss.requires_grad:
            self._refuse_nonfinite()
            return loss, log
        value = loss.detach()
        loss.register_hook(lambda gradient: self._backward_begins(value, gradient))
        if not self._guards_reduction and get_world_size() > 1:
            first = next(p for p in self.architecture.parameters() if p.requires_grad)  # the last to have a gradient
            first.register_hook(lambda gradient: self._refuse_nonfinite())
            self._guards_reduction = True
        return loss, log

    @property
    def nonfinite(self) -> str | None:
        """Message about the last parsed losses that are not finite; `None` if all are finite."""
        if callable(self._nonfinite):
            self._nonfinite = self._nonfinite()
            self._explain_distillation = None
        return self._nonfinite

    def _explain(self, log: Mapping[str, Tensor]) -> str:
        names = [name for name, value in log.items() if name != "loss" and not torch.isfinite(value)]
        return (self._explain_distillation and self._explain_distillation()) or (
            f"these losses are not finite: {', '.join(names)}. Those of the distillation are finite. {ADVICE}"
        )

    def _backward_begins(self, loss: Tensor, gradient: Tensor) -> Tensor | None:
        if self.skips_nonfinite:
            return gradient.where(loss.isfinite(), torch.nan)
        Variable._execution_engine.queue_callback(self._refuse_nonfinite)
        return None

    def _refuse_nonfinite(self) -> None:
        if not self.skips_nonfinite and self.nonfinite:
            raise FloatingPointError(self.nonfinite)


def explain(
    losses: Mapping[str, Tensor], terms: Iterable[Term], student: Record, teachers: Sequence[Record | None]
) -> str | None:
    """Message about losses of the distillation that are not finite, from the records; `None` if all are finite."""
    names = [key for key, value in losses.items() if key.startswith("loss_") and not torch.isfinite(value)]
    if not names:
        return None
    in_student: list[str] = []
    in_teachers: list[str] = []
    for term in terms:
        if term.student_key in student and not _finite(term.of_student(student)):  # no queries of a paused teacher
            in_student.append(_name("the student", term.sources.student, term))
        index = term.sources.teacher_index
        record = teachers[index]
        if record is not None and not _finite(term.of_teacher(record)):
            model = f"teachers[{index}]" if index else "the teacher"
            in_teachers.append(_name(model, term.sources.teacher, term))
    return (
        f"these losses are not finite: {', '.join(names)}. NaN or infinite values are in: "
        f"{', '.join(dict.fromkeys([*in_student, *in_teachers])) or 'no map'}. "
        f"{TEACHER_ADVICE if in_teachers and not in_student else ADVICE}"
    )


def _name(model: str, source: str, term: Term) -> str:
    return f"{model}'s {'map' if source in MAP_SOURCES else source} {term.place}".rstrip()


def _finite(outputs: Any) -> bool:
    return all(tensor.isfinite().all() for tensor in tensors(outputs))
