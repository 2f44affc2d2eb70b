"""Balance of the task's and the losses' gradients, at the outputs of the student that the losses read.

Each of these outputs leaves its source in several copies: one for the task, one for each group of losses. In the
backward pass their gradients meet at the source. There each group's gradient is scaled so that its norm over all levels
is a given multiple of the task's. So no weight has to be found for each detector, image size and data set.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
"""No ratio for any loss: nothing is balanced."""

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
    """The group of each loss whose gradient is scaled or measured. Losses at a source without a named loss have none.

    Losses at the source `roi_head` cannot be balanced: `ratio=None` leaves them out, any other ratio for them is an
    error.

    Args:
        ratio: One number for all losses of a source together, or numbers by name of the loss; `None` scales nothing:
            the gradients are measured.
        sources: Source of the student by name of the loss.

    Raises:
        ValueError: There is no such loss, or its source cannot be balanced.
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
            "another: name the other losses only, as in balance=dict(ratio={NAME: 1.0})"
        )
    if not isinstance(ratio, Mapping):
        return {name: Group(source, "all", ratio) for name, source in sources.items()}
    there = {sources[name] for name in ratio}
    return {name: Group(source, name, ratio.get(name)) for name, source in sources.items() if source in there}


def _is_ratio(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


class GradientBalance(nn.Module):
    """Scales the gradients of groups of losses to multiples of the task's, at one source of the student.

    A group's gradient g is multiplied by `ratio * T / G`. T is the running average of the norm of the task's gradient.
    G is that of `|g| / factor`, where factor is the schedule's and the teacher's. So the scaled norm is about
    `ratio * factor` times the task's, in the mean over steps: one step's gradient that is much larger than the average
    stays so. Norms are over all levels. The averages are in the checkpoint. Earlier steps enter them as means over
    processes; the current step enters as this process sees it.

    Where the task has no gradient, as for images without annotations, the step leaves the averages as they are: the
    losses are scaled by those of earlier steps, or keep their weight while there are none. The log says so once.

    The task's gradient is all that comes back through the rest of the model: at the neck also that of losses which read
    the student's head. Parameters of the losses (connectors, generators) learn at their own gradient, which is not
    scaled.

    Args:
        ratios: Norm of a group's scaled gradient over the norm of the task's, by name of the group. `None` leaves a
            group unscaled.

    Raises:
        ValueError: A ratio is negative.
    """

    def __init__(self, ratios: Mapping[str, float | None]):
        super().__init__()
        wrong = {name: ratio for name, ratio in ratios.items() if ratio is not None and not _is_ratio(ratio)}
        if wrong:
            raise ValueError(f"balance: a ratio is a number of 0 or more, such as 1.0; got {wrong}")
        self.ratios = dict(ratios)
        self.factors = dict.fromkeys(ratios, 1.0)
        """By group, the factor of schedule and teacher in this step, which its losses are multiplied by."""
        for name in ratios:
            self.register_buffer(f"average_{name}", torch.zeros(4))
        self._step: dict[str, Tensor] = {}
        """By group, the values of this step: norm of the task's gradient, norm of the group's, their cosine, and 1 if
        they count, else 0."""
        self._task_missing: HostCopy | None = None
        """Whether in the last step the task had no gradient, and a group had one."""
        self._said_so = False

    @property
    def averages(self) -> Tensor:
        """Running averages, a row for each group: norm of the task's gradient, norm of the group's, their cosine, and
        1. They start at 0; that bias cancels in quotients of columns."""
        return torch.stack(list(self.buffers()))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load the averages of the groups that are the same. Others stay as they are. In a new model they are zero;
        MMDetection's `SyncNormHook` loads a model's batch norms, and nothing else, before each validation."""
        own = {f"{prefix}{name}": buffer.clone() for name, buffer in self.named_buffers()}
        for key in [key for key in state_dict if key.startswith(prefix) and key not in own]:
            del state_dict[key]
        for key, start in own.items():
            state_dict.setdefault(key, start)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fork(self, outputs: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """Copies of outputs for the task and for each group. They share memory: nothing may change them in place."""
        if self._task_missing is not None and self._task_missing.read():
            self._say_so()
        self._task_missing = None
        copies = _Fork.apply(self, len(self.ratios) + 1, *outputs)
        groups = [list(copies[start : start + len(outputs)]) for start in range(0, len(copies), len(outputs))]
        return groups[0], dict(zip(self.ratios, groups[1:], strict=True))

    def metrics(self) -> dict[str, Tensor]:
        """Running averages for each group: `balance.ratio_*`, norm of its gradient over the task's before scaling;
        `balance.scale_*`, what it is multiplied by; `balance.cosine_*`, cosine with the task's."""
        task, own, cosine, weight = self.averages.unbind(1)
        quotients = _quotient(torch.stack([own, task, cosine]), torch.stack([task, own, weight])).unbind(1)
        found = {}
        for (name, ratio), values in zip(self.ratios.items(), quotients, strict=True):
            relative, inverse, cosine = values.unbind()
            found[f"balance.ratio_{name}"] = relative
            found[f"balance.scale_{name}"] = torch.ones_like(inverse) if ratio is None else ratio * inverse
            found[f"balance.cosine_{name}"] = cosine
        return found

    def restart(self, name: str) -> None:
        """Forget a group's averages: its losses compare with other teachers from now on."""
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
            average = self.get_buffer(f"average_{name}")
            task_side = task_side or _Side(task, average)
            scale = self._scale(name, average, task_side, _Side(gradients, average))
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

    def _scale(self, name: str, average: Tensor, task: "_Side", own: "_Side") -> Tensor:
        """What a group's gradient is multiplied by. Notes the values of this step."""
        values = torch.stack([task.norm, own.norm / self.factors[name], task.cosine(own)])
        finite = values.isfinite().all()  # not so after an overflow under --amp: the step will be skipped
        # a side without any gradient in this batch says nothing about its norm
        counts = finite & (values[:2].amin() > 0)
        self._step[name] = torch.cat([torch.where(finite, values, 0), counts[None]])
        average = MOMENTUM * average + (1 - MOMENTUM) * self._step[name] * counts
        scale = (self.ratios[name] or 1.0) * _quotient(average[0], average[1])
        # what overflowed must stay so, or the step would not be skipped
        return torch.where(finite & (average[0] > 0), scale, 1)

    @torch.no_grad()
    def _average(self) -> None:
        """Take this step's values into the averages, over all processes."""
        averages = self.averages
        nothing = torch.zeros_like(averages[0])
        step, self._step = torch.stack([self._step.get(name, nothing) for name in self.ratios]), {}
        if not self._said_so:
            self._task_missing = HostCopy(((step[:, 0] == 0) & (step[:, 1] > 0)).any())
        step = step * step[:, 3:]
        if get_world_size() > 1:
            all_reduce(step)
        processes = step[:, 3:]
        new = MOMENTUM * averages + (1 - MOMENTUM) * step / processes.clamp(min=1)
        for buffer, value in zip(self.buffers(), torch.where(processes > 0, new, averages), strict=True):
            buffer.copy_(value)

    def _say_so(self) -> None:
        print_log(
            "balance: the task had no gradient in a step where the losses had one. Such steps leave the averages as "
            "they are: the losses are scaled as in earlier steps, or keep their weight while there are none",
            "current",
            level=logging.WARNING,
        )
        self._said_so = True


class _Fork(torch.autograd.Function):
    """Several copies of tensors; `GradientBalance.combine` makes one gradient of theirs.

    The groups' copies of float16 outputs are float32: a gradient may be outside of float16's range before it is
    scaled. Outputs that need no gradient, as those of frozen stages, get none and count nowhere.
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


class _Side:
    """The gradients of the task, or of a group, at all levels together.

    Args:
        gradients: A gradient for each level.
        like: A tensor of their device, in the precision of the norm.
    """

    def __init__(self, gradients: Gradients, like: Tensor):
        found = {level: gradient.float() for level, gradient in enumerate(gradients) if gradient is not None}
        self.at = list(found)
        """The levels that have one."""
        self.levels = list(found.values())
        self.norm = _norm(self.levels, like)
        self._directions: list[Tensor] | None = None

    @property
    def directions(self) -> list[Tensor]:
        """The gradients divided by their norm."""
        if self._directions is None:
            self._directions = _times(self.levels, _quotient(torch.ones_like(self.norm), self.norm))
        return self._directions

    def cosine(self, other: "_Side") -> Tensor:
        """Cosine with another side's gradients."""
        sides = [dict(zip(side.at, side.directions, strict=True)) for side in (self, other)]
        both = [level for level in self.at if level in sides[1]]
        products = [(sides[0][level] * sides[1][level]).sum() for level in both]
        return sum(products, start=torch.zeros_like(self.norm))


def _norm(gradients: list[Tensor], like: Tensor) -> Tensor:
    """Norm of all gradients together. It is taken of values up to 1: squares may overflow, as with a loss scale. The
    norm of subnormal values is 0: their inverse would overflow."""
    zero = like.new_zeros(())
    if not gradients:
        return zero
    largest = torch.stack([zero, *torch._foreach_norm(gradients, torch.inf)]).amax()
    largest = torch.where(largest < torch.finfo(largest.dtype).tiny, 0, largest)
    scaled = _times(gradients, _quotient(torch.ones_like(largest), largest))
    return largest * torch.stack([zero, *torch._foreach_norm(scaled)]).norm()


def _times(gradients: list[Tensor], factor: Tensor) -> list[Tensor]:
    return list(torch._foreach_mul(gradients, factor)) if gradients else []


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient, 0 where it is not finite."""
    return (numerator / denominator).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
