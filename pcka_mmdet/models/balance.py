"""Balance of the task's and the losses' gradients at the student's outputs that the losses read.

Each output leaves its source in copies: one for the task, one for each group of losses. Where their gradients meet in
the backward pass, each group's is scaled to a multiple of the task's norm, so no loss weight has to be tuned.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.autograd import Variable
from torch.autograd.function import once_differentiable

from .outputs import HostCopy

MOMENTUM = 0.98
"""The running averages cover about the last 50 steps."""

NO_LOSS: Mapping[str, float] = {}
"""A ratio for no loss: nothing is balanced."""

Gradients = Sequence[Tensor | None]
"""A gradient for each output; `None` where there is none."""


@dataclass(frozen=True)
class Group:
    """Losses at one source of the student whose gradients are scaled together."""

    source: str
    name: str
    """Name of the loss, or `all`."""
    ratio: float | None
    """Norm of the scaled gradient over the task's; `None` leaves it unscaled."""

    @property
    def key(self) -> str:
        """Key of the group's copy in the student's record."""
        return f"{self.source}/{self.name}"


def group_losses(ratio: float | Mapping[str, float] | None, sources: Mapping[str, str]) -> dict[str, Group]:
    """The group of each loss whose gradient is scaled or measured.

    Losses at a source without a named loss have no group, nor have losses at `roi_head`, which cannot be balanced.

    Args:
        ratio: One number for all losses of a source together, or numbers by name of the loss. `None` only measures.
        sources: Source of the student by name of the loss.

    Raises:
        ValueError: A named loss does not exist, or a loss that gets a ratio is at `roi_head`.
    """
    if ratio is None:
        return {name: Group(source, "all", None) for name, source in sources.items() if source != "roi_head"}
    balanced = ratio if isinstance(ratio, Mapping) else sources
    unknown = [name for name in balanced if name not in sources]
    if unknown:
        raise ValueError(f"balance.ratio: there is no loss {unknown}; there are {list(sources)}")
    if any(sources[name] == "roi_head" for name in balanced):
        raise ValueError(
            "balance.ratio: gradients at the source 'roi_head' cannot be balanced, since its stages run one after "
            "another: name only losses at a different source, as in balance=dict(ratio={NAME: 1.0})"
        )
    if not isinstance(ratio, Mapping):
        return {name: Group(source, "all", ratio) for name, source in sources.items()}
    balanced_sources = {sources[name] for name in ratio}
    return {
        name: Group(source, name, ratio.get(name)) for name, source in sources.items() if source in balanced_sources
    }


class GradientBalance(nn.Module):
    """Scales the gradients of groups of losses to multiples of the task's, at one source of the student.

    A group's gradient g is multiplied by `ratio * T / G`. T is the running average of the norm of the task's gradient,
    G that of `|g| / factor`, where factor is the schedule's times the teacher's. So the scaled norm is `ratio * factor`
    times the task's in the mean over steps. Spikes are not clipped. Norms are over all levels. The averages are in the
    checkpoint. Earlier steps enter as means over processes, the current step as this process sees it.

    A step in which the task has no gradient, as for images without annotations, does not change the averages. The
    losses are scaled by those of earlier steps, or keep their weight while there are none. The log warns once.

    At the neck, the task's gradient includes that of losses which read the student's head. Parameters of the losses
    (connectors, generators) learn at their unscaled gradient.

    Args:
        ratios: Norm of a group's scaled gradient over the norm of the task's, by name of the group. `None` leaves a
            group unscaled.

    Raises:
        ValueError: A ratio is no number of 0 or more.
    """

    def __init__(self, ratios: Mapping[str, float | None]):
        super().__init__()
        wrong = {
            name: ratio
            for name, ratio in ratios.items()
            if ratio is not None and not (isinstance(ratio, (int, float)) and 0 <= ratio < float("inf"))
        }
        if wrong:
            raise ValueError(f"balance: a ratio is a number of 0 or more, such as 1.0; got {wrong}")
        self.ratios = dict(ratios)
        self.factors = dict.fromkeys(ratios, 1.0)
        """By group, the factor of schedule and teacher that its losses have in this step."""
        for name in ratios:
            self.register_buffer(f"average_{name}", torch.zeros(4))
        self._step: dict[str, Tensor] = {}
        """By group, the values of this step: norm of the task's gradient, norm of the group's, their cosine, and 1 if
        they count, else 0."""
        self._task_missing: HostCopy | None = None
        """Whether in the last step the task had no gradient, and a group had one."""
        self._warned = False

    @property
    def averages(self) -> Tensor:
        """Running averages, a row for each group: norm of the task's gradient, norm of the group's, their cosine, and
        1. They start at 0; that bias cancels in quotients of columns."""
        return torch.stack(list(self.buffers()))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load the averages of groups that both models have. MMDetection's `SyncNormHook` loads batch norms alone."""
        current = {f"{prefix}{name}": buffer.clone() for name, buffer in self.named_buffers()}
        for key in [key for key in state_dict if key.startswith(prefix) and key not in current]:
            del state_dict[key]
        for key, value in current.items():
            state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fork(self, outputs: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """Copies of outputs for the task and for each group. They share memory: nothing may change them in place."""
        if self._task_missing is not None and self._task_missing.read():
            self._warned = True
            print_log(
                "balance: the task had no gradient in a step where the losses had one. Such steps do not change the "
                "averages: the losses are scaled as in earlier steps, or keep their weight while there are none",
                "current",
                level=logging.WARNING,
            )
        self._task_missing = None
        copies = _Fork.apply(self, len(self.ratios) + 1, *outputs)
        task, *groups = (list(copies[i : i + len(outputs)]) for i in range(0, len(copies), len(outputs)))
        return task, dict(zip(self.ratios, groups, strict=True))

    def metrics(self) -> dict[str, Tensor]:
        """Running averages for each group: `balance.ratio_*`, norm of its gradient over the task's before scaling;
        `balance.scale_*`, what it is multiplied by; `balance.cosine_*`, cosine with the task's."""
        task, group, cosine, weight = self.averages.unbind(1)
        quotients = _quotient(torch.stack([group, task, cosine]), torch.stack([task, group, weight])).unbind(1)
        metrics = {}
        for (name, ratio), values in zip(self.ratios.items(), quotients, strict=True):
            relative, inverse, cosine = values.unbind()
            metrics[f"balance.ratio_{name}"] = relative
            metrics[f"balance.scale_{name}"] = torch.ones_like(inverse) if ratio is None else ratio * inverse
            metrics[f"balance.cosine_{name}"] = cosine
        return metrics

    def restart(self, name: str) -> None:
        """Reset a group's averages: a different teacher begins."""
        self.get_buffer(f"average_{name}").zero_()

    def combine(self, task: Gradients, groups: Sequence[Gradients]) -> list[Tensor | None]:
        """The gradient of each output: the task's plus those of the groups, scaled.

        Args:
            task: The task's gradients.
            groups: The gradients of each group.
        """
        self._step = {}
        total = list(task)
        task_side: _Side | None = None  # the same for all groups
        for (name, ratio), gradients in zip(self.ratios.items(), groups, strict=True):
            if self.factors[name] == 0 or all(gradient is None for gradient in gradients):
                continue
            like = self.get_buffer(f"average_{name}")
            task_side = task_side or _side(task, like)
            scale = self._scale(name, task_side, _side(gradients, like))
            if ratio == 0:
                continue  # not multiplied: 0 * inf is NaN, and a sum with 0 may change the sign of a zero
            for level, gradient in enumerate(gradients):
                if gradient is not None:
                    scaled = gradient if ratio is None else gradient * scale.to(gradient.dtype)
                    before = total[level]
                    total[level] = scaled if before is None else before + scaled
        # at the end of the pass DDP has started all its reductions, in every process: the order is the same
        Variable._execution_engine.queue_callback(self._average)
        return total

    def _scale(self, name: str, task: "_Side", group: "_Side") -> Tensor:
        """Factor of a group's gradient. Notes the values of this step."""
        both = [level for level in task.directions if level in group.directions]
        products = [(task.directions[level] * group.directions[level]).sum() for level in both]
        cosine = sum(products, start=torch.zeros_like(task.norm))
        values = torch.stack([task.norm, group.norm / self.factors[name], cosine])
        finite = values.isfinite().all()  # not so after an overflow under --amp: the step will be skipped
        # a batch without any gradient on one side tells nothing about its norm
        counts = finite & (values[:2].amin() > 0)
        self._step[name] = torch.cat([torch.where(finite, values, 0), counts[None]])
        average = MOMENTUM * self.get_buffer(f"average_{name}") + (1 - MOMENTUM) * self._step[name] * counts
        scale = (self.ratios[name] or 1.0) * _quotient(average[0], average[1])
        # an overflow must remain, or the step would not be skipped
        return torch.where(finite & (average[0] > 0), scale, 1)

    @torch.no_grad()
    def _average(self) -> None:
        """Add this step's values to the averages, over all processes."""
        averages = self.averages
        nothing = torch.zeros_like(averages[0])
        step, self._step = torch.stack([self._step.get(name, nothing) for name in self.ratios]), {}
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
    Outputs that need no gradient, as of frozen stages, get none and do not count.
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
    """The gradients of the task, or of a group."""

    norm: Tensor
    """Over all levels."""
    directions: dict[int, Tensor]
    """By level, the gradient divided by the norm."""


def _side(gradients: Gradients, like: Tensor) -> _Side:
    levels = {level: gradient.float() for level, gradient in enumerate(gradients) if gradient is not None}
    if not levels:
        return _Side(like.new_zeros(()), {})
    norm = _norm(list(levels.values()), like)
    return _Side(norm, dict(zip(levels, _divided(list(levels.values()), norm), strict=True)))


def _norm(gradients: list[Tensor], like: Tensor) -> Tensor:
    """Norm over all gradients. The largest value is divided out, since squares may overflow, as with a loss scale. The
    norm of subnormal values is 0: their inverse would overflow."""
    zero = like.new_zeros(())
    largest = torch.stack([zero, *torch._foreach_norm(gradients, torch.inf)]).amax()
    largest = torch.where(largest < torch.finfo(largest.dtype).tiny, 0, largest)
    return largest * torch.stack([zero, *torch._foreach_norm(_divided(gradients, largest))]).norm()


def _divided(gradients: list[Tensor], divisor: Tensor) -> tuple[Tensor, ...]:
    return torch._foreach_mul(gradients, _quotient(torch.ones_like(divisor), divisor))


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient, 0 where it is not finite."""
    return (numerator / denominator).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
