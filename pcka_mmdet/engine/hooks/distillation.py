"""Hooks on the losses of a distillation: their schedule, clipping of their gradients, advice on their size."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from torch import Tensor

from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.registry import HOOKS

from ..runner import fpn_distill, unwrapped_model

AGAINST = -0.05
"""Mean cosine below which a loss works against the task."""

DROWNS = 5.0
"""Mean ratio of gradients, after scaling, above which a loss drowns the task."""

VANISHES = 0.01
"""Mean ratio of gradients, after scaling, below which a loss does nothing."""

SHORTEST = 50
"""Least iterations whose means are judged: the balance's averages are over as many."""

COSINE = "balance.cosine_"
"""Beginning of the logged names of the cosines; the name of the loss follows."""


@HOOKS.register_module()
class LossScheduleHook(Hook):
    """Sets the factor of all distillation losses in each iteration; at 0 the teacher does not run.

    The factor depends on the iteration only, so it is the same in every process and in a resumed training.
    `mmrazor.StopDistillHook` stops distillation after an epoch.

    Args:
        ramp: Number of iterations over which the factor rises linearly from 0 to 1.
        every: Distil when `iteration % every == 0`, at unchanged loss weights; else the losses are 0.
        stop: Iteration from which on the distillation has stopped; `None` distils to the end.

    Raises:
        ValueError: `ramp` is below 0, `every` or `stop` below 1, or the model is not an `FPNDistill`.
    """

    def __init__(self, ramp: int = 0, every: int = 1, stop: int | None = None):
        if ramp < 0 or every < 1 or (stop is not None and stop < 1):
            raise ValueError(f"ramp is at least 0, every and stop at least 1, got {ramp=}, {every=}, {stop=}")
        self.ramp = ramp
        self.every = every
        self.stop = stop

    def factor(self, iteration: int) -> float:
        """The factor, in [0, 1], of an iteration counted from 0."""
        if iteration % self.every or (self.stop is not None and iteration >= self.stop):
            return 0.0
        return min(1.0, iteration / self.ramp) if self.ramp else 1.0

    def before_train(self, runner: Runner) -> None:
        if fpn_distill(runner) is None:
            kind = type(unwrapped_model(runner)).__name__
            raise ValueError(f"LossScheduleHook is for an FPNDistill, got a {kind}: take it out of custom_hooks")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        model = unwrapped_model(runner)
        model.distiller.factor = self.factor(runner.iter)
        if self.stop is not None and runner.iter >= self.stop:
            model.distillation_stopped = True


@HOOKS.register_module()
class SeparateClippingHook(Hook):
    """Clips (`optim_wrapper.clip_grad`) the gradients of an `FPNDistill`'s losses apart from the student's.

    Connectors and generators learn at the unbalanced gradient, which may be much larger than the student's. Clipped by
    one norm for both, it would shrink the student's steps. `grad_norm` in the log is the student's.
    """

    priority = "HIGHEST"  # before NonFiniteLossHook, which reads the norm that is logged

    def before_train(self, runner: Runner) -> None:
        model, wrapper = fpn_distill(runner), runner.optim_wrapper
        if model is None or not getattr(wrapper, "clip_grad_kwargs", None):
            return
        of_losses, clip = set(model.distiller.parameters()), wrapper.clip_func

        def clip_apart(parameters: Sequence[Tensor], **options: Any) -> Tensor | None:
            losses, student = [p for p in parameters if p in of_losses], [p for p in parameters if p not in of_losses]
            if losses:  # clipping by value takes no empty list
                clip(losses, **options)
            return clip(student, **options) if student else None

        wrapper.clip_func = clip_apart


@HOOKS.register_module()
class BalanceAdviceHook(Hook):
    """Warns once for each loss whose mean gradient points against the task's, or is far larger or smaller.

    It reads the values that MMEngine has logged of `GradientBalance`; `tools/train.py` registers it.

    Args:
        iterations: Iterations that a mean is taken over; `None` takes an epoch, or `SHORTEST` if that is longer.
    """

    def __init__(self, iterations: int | None = None):
        self.iterations = iterations
        self._steps = 0  # since the last judgement
        self._warned: set[tuple[str, str]] = set()

    def before_train(self, runner: Runner) -> None:
        if self.iterations is None:
            loader = runner.train_dataloader
            self.iterations = max(SHORTEST, len(loader) if hasattr(loader.dataset, "__len__") else 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        if getattr(unwrapped_model(runner), "distillation_stopped", False):
            return  # the averages stand still
        self._steps += 1
        if self._steps < self.iterations:
            return
        self._steps = 0
        scalars = runner.message_hub.log_scalars
        for key in outputs or ():
            if key.startswith(COSINE) and f"train/{key}" in scalars:
                self._judge(key.removeprefix(COSINE), scalars)

    def _judge(self, name: str, scalars: Mapping[str, HistoryBuffer]) -> None:
        cosines, ratios, scales = (
            scalars[f"train/balance.{kind}_{name}"].data[0][-self.iterations :] for kind in ("cosine", "ratio", "scale")
        )
        cosine, ratio = cosines.mean(), (ratios * scales).mean()
        period = f"on average over {len(cosines)} iterations"
        size = f"the gradient of distillation ({name}) was {ratio:.2g} times the task's {period}"
        problems = {}
        if cosine < AGAINST:
            problems["against"] = (
                f"balance.cosine_{name} was {cosine:.2f} {period}: the gradient of distillation points against the "
                "task's. Lower its ratio or weight, or leave the loss out"
            )
        if ratio > DROWNS:
            advice = "the task hardly learns. Write model.balance.ratio=1.0, or a smaller ratio or weight"
            problems["drowns"] = f"{size}: {advice}"
        if 0 < ratio < VANISHES:
            advice = "the distillation does nothing. Write model.balance.ratio=1.0, or a larger ratio or weight"
            problems["vanishes"] = f"{size}: {advice}"
        for kind, text in problems.items():
            if (kind, name) not in self._warned:
                self._warned.add((kind, name))
                warn(text)
