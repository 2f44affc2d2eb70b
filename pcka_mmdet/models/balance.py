"""Balance of the task's and the losses' gradients at the student's outputs that the losses read.

Each output leaves its source in copies: one for the task, one for each group of losses. Where their gradients meet in
the backward pass, each group's is scaled to a multiple of the task's norm, so no loss weight has to be tuned.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.autograd import Variable
from torch.autograd.function import once_differentiable

from pcka_mmdet.configuration.sentence import warn

from .outputs import HostCopy

MOMENTUM = 0.98
"""The running averages cover about the last 50 steps."""

Gradients = Sequence[Tensor | None]
"""A gradient for each output; `None` where there is none."""


def _is_ratio(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


class GradientBalance(nn.Module):
    """Scales the gradients of groups of losses to multiples of the task's, at one source of the student.

    A group's gradient g is multiplied by `ratio * T / G`. T is the running average of the norm of the task's gradient,
    G that of `|g| / factor`, where factor is the schedule's times the teacher's. So the scaled norm is `ratio * factor`
    times the task's in the mean over steps. In a batch with images without labels, both norms are those of the labelled
    ones. Spikes are not clipped. Norms are over all levels, of all kinds of outputs together or of each kind. The
    averages are in the checkpoint. Earlier steps enter as means over processes, the current step as this process
    computes it.

    A step in which the task has no gradient, as for images without annotations, does not change the averages. The
    losses are scaled by those of earlier steps, or keep their weight while there are none. The log warns once.

    At the neck, the task's gradient includes that of losses which read the student's head. Parameters of the losses
    (connectors, generators) learn at their unscaled gradient.

    Args:
        ratios: Norm of a group's scaled gradient over the norm of the task's, by name of the group. `None` leaves a
            group unscaled.
        kinds: Names of the kinds of outputs that are scaled on their own, in their order: class scores, boxes and so on
            of a head. Each has as many outputs, one a level. Without names all are scaled together.

    Raises:
        ValueError: A ratio is no number of 0 or more.
    """

    def __init__(self, ratios: Mapping[str, float | None], kinds: Sequence[str] = ()):
        super().__init__()
        wrong = {name: ratio for name, ratio in ratios.items() if ratio is not None and not _is_ratio(ratio)}
        if wrong:
            raise ValueError(f"balance: a ratio is a number of 0 or more, such as 1.0; got {wrong}")
        self.ratios = dict(ratios)
        self._labelled: int | None = None  # number of images of this step whose gradients are measured
        self.factors = dict.fromkeys(ratios, 1.0)
        """Factor of schedule and teacher in this step, by group."""
        self._kinds = [f"_{kind}" for kind in kinds] or [""]
        self._rows = {f"{name}{kind}": name for name in ratios for kind in self._kinds}  # the group of each row
        for row in self._rows:
            self.register_buffer(f"average_{row}", torch.zeros(4))
        # by row: norm of the task's gradient, norm of the group's, their cosine, and 1 if they count, else 0
        self._step: dict[str, Tensor] = {}
        self._task_missing: HostCopy | None = None  # whether in the last step only a group had a gradient
        self._warned = False

    @property
    def averages(self) -> Tensor:
        """A row for each group, or kind of a group, as in `_step`. They start at 0; that bias cancels in quotients of
        columns."""
        return torch.stack(list(self.buffers()))

    def fork(
        self, outputs: Sequence[Tensor], labelled: int | None = None
    ) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """Copies of outputs for the task and for each group. They share memory: nothing may change them in place.

        `labelled` is the number of labelled images, the first of the batch, whose gradients are measured; `None`
        measures all.
        """
        self._labelled = labelled
        if self._task_missing is not None and self._task_missing.read():
            self._warned = True
            warn(
                "balance: the task had no gradient in a step where the losses had one. These steps do not change the "
                "averages: the losses are scaled as in earlier steps, or keep their weight while there are none"
            )
        self._task_missing = None
        copies = _Fork.apply(self, len(self.ratios) + 1, *outputs)
        task, *groups = (list(copies[i : i + len(outputs)]) for i in range(0, len(copies), len(outputs)))
        return task, dict(zip(self.ratios, groups, strict=True))

    def metrics(self) -> dict[str, Tensor]:
        """Running averages for each row: `balance.ratio_*`, norm of its gradient over the task's before scaling;
        `balance.scale_*`, what it is multiplied by; `balance.cosine_*`, cosine with the task's."""
        task, group, cosine, weight = self.averages.unbind(1)
        quotients = _quotient(torch.stack([group, task, cosine]), torch.stack([task, group, weight])).unbind(1)
        metrics = {}
        for (row, name), values in zip(self._rows.items(), quotients, strict=True):
            ratio, (relative, inverse, cosine) = self.ratios[name], values.unbind()
            metrics[f"balance.ratio_{row}"] = relative
            metrics[f"balance.scale_{row}"] = torch.ones_like(inverse) if ratio is None else ratio * inverse
            metrics[f"balance.cosine_{row}"] = cosine
        return metrics

    def restart(self, name: str) -> None:
        """Reset a group's averages: a different teacher begins."""
        for row, group in self._rows.items():
            if group == name:
                self.get_buffer(f"average_{row}").zero_()

    def combine(self, task: Gradients, groups: Sequence[Gradients]) -> list[Tensor | None]:
        """The gradient of each output: the task's plus those of the groups, scaled."""
        self._step = {}
        total: list[Tensor | None] = []
        levels = len(task) // len(self._kinds)
        for start, kind in zip(range(0, len(task), levels), self._kinds, strict=True):
            parts = [gradients[start : start + levels] for gradients in (task, *groups)]
            total += self._combined(kind, parts[0], parts[1:])
        # at the end of the pass DDP has started all its reductions, in every process: the order is the same
        Variable._execution_engine.queue_callback(self._average)
        return total

    def _combined(self, kind: str, task: Gradients, groups: Sequence[Gradients]) -> list[Tensor | None]:
        """The gradients of a kind of outputs."""
        total = list(task)
        task_side: _Side | None = None  # the same for all groups
        for (name, ratio), gradients in zip(self.ratios.items(), groups, strict=True):
            if self.factors[name] == 0 or all(gradient is None for gradient in gradients):
                continue
            row = f"{name}{kind}"
            like = self.get_buffer(f"average_{row}")
            task_side = task_side or _side(self._measured(task), like)
            scale = self._scale(row, task_side, _side(self._measured(gradients), like))
            if ratio == 0:
                continue  # not multiplied: 0 * inf is NaN, and a sum with 0 may change the sign of a zero
            for level, gradient in enumerate(gradients):
                if gradient is not None:
                    scaled = gradient if ratio is None else gradient * scale.to(gradient.dtype)
                    before = total[level]
                    total[level] = scaled if before is None else before + scaled
        return total

    def _measured(self, gradients: Gradients) -> Gradients:
        """Those of the labelled images: the task has no gradient at the others."""
        if self._labelled is None:
            return gradients
        return [gradient if gradient is None else gradient[: self._labelled] for gradient in gradients]

    def _scale(self, row: str, task: "_Side", group: "_Side") -> Tensor:
        """Factor of the gradient of a group, or kind of a group. Notes the values of this step."""
        name = self._rows[row]
        both = [level for level in task.directions if level in group.directions]
        products = [(task.directions[level] * group.directions[level]).sum() for level in both]
        cosine = sum(products, start=torch.zeros_like(task.norm))
        values = torch.stack([task.norm, group.norm / self.factors[name], cosine])
        finite = values.isfinite().all()  # not so after an overflow under --amp: the step will be skipped
        # a batch without any gradient on one side tells nothing about its norm
        counts = finite & (values[:2].amin() > 0)
        self._step[row] = torch.cat([torch.where(finite, values, 0), counts[None]])
        average = MOMENTUM * self.get_buffer(f"average_{row}") + (1 - MOMENTUM) * self._step[row] * counts
        scale = (self.ratios[name] or 1.0) * _quotient(average[0], average[1])
        # an overflow must remain, or the step would not be skipped
        return torch.where(finite & (average[0] > 0), scale, 1)

    @torch.no_grad()
    def _average(self) -> None:
        """Add this step's values to the averages, over all processes."""
        averages = self.averages
        nothing = torch.zeros_like(averages[0])
        step, self._step = torch.stack([self._step.get(row, nothing) for row in self._rows]), {}
        if not self._warned:
            self._task_missing = HostCopy(((step[:, 0] == 0) & (step[:, 1] > 0)).any())
        step = step * step[:, 3:]
        if get_world_size() > 1:
            all_reduce(step)
        processes = step[:, 3:]
        new = MOMENTUM * averages + (1 - MOMENTUM) * step / processes.clamp(min=1)
        for buffer, value in zip(self.buffers(), torch.where(processes > 0, new, averages), strict=True):
            buffer.copy_(value)


class _Fork(torch.autograd.Function):
    """Copies of tensors, whose gradients `GradientBalance.combine` adds up.

    The groups' copies of float16 outputs are float32: a gradient may exceed float16's range before it is scaled.
    """

    @staticmethod
    def forward(ctx: Any, balance: GradientBalance, copies: int, *outputs: Tensor) -> tuple[Tensor, ...]:
        ctx.balance, ctx.dtypes = balance, [output.dtype for output in outputs]
        ctx.set_materialize_grads(False)
        wide = [output.detach().float() if output.dtype == torch.float16 else output for output in outputs]
        made = [
            *(output.detach() for output in outputs),
            *(output.detach() for _ in range(copies - 1) for output in wide),
        ]
        needed = ctx.needs_input_grad[2:] * copies
        ctx.mark_non_differentiable(*(copy for copy, needs in zip(made, needed, strict=True) if not needs))
        return tuple(made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        levels = len(ctx.dtypes)
        task, *groups = (gradients[i : i + levels] for i in range(0, len(gradients), levels))
        total = ctx.balance.combine(task, groups)
        return None, None, *(g if g is None else g.to(dtype) for g, dtype in zip(total, ctx.dtypes, strict=True))


class _Side(NamedTuple):
    """Norm over all levels of the gradients of the task or a group; and by level, the gradient divided by it."""

    norm: Tensor
    directions: dict[int, Tensor]


def _side(gradients: Gradients, like: Tensor) -> _Side:
    levels = {level: gradient.float() for level, gradient in enumerate(gradients) if gradient is not None}
    values, zero = list(levels.values()), like.new_zeros(())
    if not values:
        return _Side(zero, {})
    # the largest value is divided out: squares may overflow, as with a loss scale; the inverse of subnormal values does
    largest = torch.stack([zero, *torch._foreach_norm(values, torch.inf)]).amax()
    largest = torch.where(largest < torch.finfo(largest.dtype).tiny, 0, largest)
    norm = largest * torch.stack([zero, *torch._foreach_norm(_divided(values, largest))]).norm()
    return _Side(norm, dict(zip(levels, _divided(values, norm), strict=True)))


def _divided(gradients: list[Tensor], divisor: Tensor) -> tuple[Tensor, ...]:
    return torch._foreach_mul(gradients, _quotient(torch.ones_like(divisor), divisor))


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient, 0 where it is not finite."""
    return (numerator / denominator).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
