"""Refusal of losses that are not finite."""

import math
from collections.abc import Callable, Mapping

import torch
from mmengine.dist import get_world_size
from mmrazor.models.algorithms import BaseAlgorithm
from torch import Tensor
from torch.autograd import Variable

from ..outputs import ADVICE, HostCopy


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
            self.nonfinite = self._nonfinite()
            self._explain_distillation = None
        return self._nonfinite

    @nonfinite.setter
    def nonfinite(self, message: str | None) -> None:
        self._nonfinite = message

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
