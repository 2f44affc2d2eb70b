"""Balance of the task's and the losses' gradients, at the outputs of the student that the losses read.

Each of these outputs leaves its source in several copies: one for the task, one for each group of losses. In the
backward pass their gradients meet at the source. There each group's gradient is scaled so that its norm over all levels
is a given multiple of the task's. So no weight has to be found for each detector, image size and data set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.autograd import Variable
from torch.autograd.function import once_differentiable

MOMENTUM = 0.98
"""Of the running averages: about the last 50 steps."""

NO_LOSS: Mapping[str, float] = {}
"""No ratio for any loss: nothing is balanced."""

Gradients = Sequence[Tensor | None]
"""A gradient for each output; `None` where there is none."""


@dataclass(frozen=True)
class Group:
    """Losses at one source of the student whose gradients are scaled together."""

    source: str
    name: str
    """The loss's, or `all`."""
    ratio: float | None
    """See `GradientBalance`."""

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
    by_loss = ratio if isinstance(ratio, Mapping) else None
    balanced = sources if by_loss is None else by_loss
    unknown = [name for name in balanced if name not in sources]
    if unknown:
        raise ValueError(f"balance.ratio: there is no loss {unknown}; there are {list(sources)}")
    if any(sources[name] == "roi_head" for name in balanced):
        raise ValueError(
            "balance.ratio: gradients at the source 'roi_head' cannot be balanced, since its stages run one after "
            "another: name the other losses only, as in balance=dict(ratio={NAME: 1.0})"
        )
    there = {sources[name] for name in balanced}
    if by_loss is None:
        return {name: Group(source, "all", ratio) for name, source in sources.items() if source in there}
    return {name: Group(source, name, by_loss.get(name)) for name, source in sources.items() if source in there}


class GradientBalance(nn.Module):
    """Scales the gradients of groups of losses to multiples of the task's, at one source of the student.

    A group's gradient g becomes `ratio * mean|task| / mean|g / factor| * g`, where |.| is the norm over all levels. g
    contains the schedule's factor, so its norm becomes about `ratio * factor` times the task's. The means are running
    averages, stored in the checkpoint. The values of earlier steps are means over all processes, those of this step are
    this process's.

    The task's gradient is all that comes back through the rest of the model: at the neck also that of losses which read
    the student's head. Parameters of the losses (connectors, generators) learn at their own gradient, which is not
    scaled, and which counts where gradients are clipped by their norm.

    Args:
        ratios: Norm of a group's scaled gradient over the norm of the task's, by name of the group. `None` leaves a
            group unscaled.

    Raises:
        ValueError: A ratio is negative.
    """

    averages: Tensor

    def __init__(self, ratios: Mapping[str, float | None]):
        super().__init__()
        wrong = {name: ratio for name, ratio in ratios.items() if ratio is not None and not 0 <= ratio < float("inf")}
        if wrong:
            raise ValueError(f"balance: a ratio is a number of 0 or more, such as 1.0; got {wrong}")
        self.ratios = dict(ratios)
        self.factors = dict.fromkeys(ratios, 1.0)
        """By group, the factor of schedule and teacher in this step, which its losses are multiplied by."""
        self.register_buffer("averages", torch.zeros(len(ratios), 4))
        """Running averages for each group: norm of the task's gradient, norm of the group's, their cosine, and 1. They
        start at 0; that bias cancels in quotients of columns."""
        self._step: Tensor | None = None
        """The values of this step, 0 where a group has no gradient."""

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        state_dict.setdefault(f"{prefix}averages", torch.zeros_like(self.averages))  # nothing was measured until then
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fork(self, outputs: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """Copies of outputs for the task and for each group. They share memory: nothing may change them in place."""
        copies = _Fork.apply(self, len(self.ratios) + 1, *outputs)
        groups = [list(copies[start : start + len(outputs)]) for start in range(0, len(copies), len(outputs))]
        return groups[0], dict(zip(self.ratios, groups[1:], strict=True))

    def metrics(self) -> dict[str, Tensor]:
        """Running averages for each group: `balance.ratio_*`, norm of its gradient over the task's before scaling;
        `balance.scale_*`, what it is multiplied by; `balance.cosine_*`, cosine with the task's."""
        found = {}
        for index, (name, ratio) in enumerate(self.ratios.items()):
            task, own, cosine, weight = self.averages[index]
            found[f"balance.ratio_{name}"] = _quotient(own, task)
            found[f"balance.scale_{name}"] = torch.ones_like(task) if ratio is None else ratio * _quotient(task, own)
            found[f"balance.cosine_{name}"] = _quotient(cosine, weight)
        return found

    def restart(self, name: str) -> None:
        """Forget a group's averages: its losses compare with other teachers from now on."""
        self.averages[list(self.ratios).index(name)] = 0

    def combine(self, task: Gradients, groups: Sequence[Gradients]) -> list[Tensor | None]:
        """The gradient of each output: the task's plus those of the groups, scaled.

        Args:
            task: The task's gradients.
            groups: The gradients of each group.
        """
        self._step = torch.zeros_like(self.averages)
        total = list(task)
        for index, ((name, ratio), gradients) in enumerate(zip(self.ratios.items(), groups, strict=True)):
            if self.factors[name] == 0 or all(gradient is None for gradient in gradients):
                continue
            scale = self._scale(index, self.factors[name], ratio, task, gradients)
            if ratio == 0:
                continue  # not multiplied: 0 * inf is NaN, and a sum with 0 may change the sign of a zero
            for level, gradient in enumerate(gradients):
                if gradient is not None:
                    scaled = gradient if ratio is None else gradient * scale.to(gradient.dtype)
                    total[level] = scaled if total[level] is None else total[level] + scaled
        # at the end of the pass DDP has started all its reductions, in every process: the order is the same
        Variable._execution_engine.queue_callback(self._average)
        return total

    def _scale(self, index: int, factor: float, ratio: float | None, task: Gradients, own: Gradients) -> Tensor:
        """What a group's gradient is multiplied by. Notes the values of this step."""
        task_norm, own_norm = _norm(task, self.averages), _norm(own, self.averages)
        product = sum(
            ((a.float() * b.float()).sum() for a, b in zip(task, own, strict=True) if a is not None and b is not None),
            start=self.averages.new_zeros(()),
        )
        cosine = _quotient(product, task_norm * own_norm)
        values = torch.stack([task_norm, own_norm / factor, cosine, torch.ones_like(cosine)])
        finite = values.isfinite().all()  # not so after an overflow under --amp: the step will be skipped
        self._step[index] = torch.where(finite, values, 0)
        average = MOMENTUM * self.averages[index] + (1 - MOMENTUM) * self._step[index]
        scale = (1.0 if ratio is None else ratio) * _quotient(average[0], average[1])
        return torch.where(finite, scale, 1)  # what overflowed must stay so, or the step would not be skipped

    @torch.no_grad()
    def _average(self) -> None:
        """Take this step's values into the averages, over all processes."""
        step, self._step = self._step, None
        if get_world_size() > 1:
            all_reduce(step)
        processes = step[:, 3:]
        averages = MOMENTUM * self.averages + (1 - MOMENTUM) * step / processes.clamp(min=1)
        self.averages.copy_(torch.where(processes > 0, averages, self.averages))


class _Fork(torch.autograd.Function):
    """Several copies of tensors; `GradientBalance.combine` makes one gradient of theirs.

    The groups' copies of float16 outputs are float32: a gradient may be outside of float16's range before it is
    scaled. Outputs that need no gradient, as those of frozen stages, get none and count nowhere.
    """

    @staticmethod
    def forward(ctx, balance: GradientBalance, copies: int, *outputs: Tensor) -> tuple[Tensor, ...]:
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
    def backward(ctx, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        levels = len(ctx.dtypes)
        task, *groups = (gradients[i : i + levels] for i in range(0, len(gradients), levels))
        total = ctx.balance.combine(task, groups)
        return None, None, *(g if g is None else g.to(dtype) for g, dtype in zip(total, ctx.dtypes, strict=True))


def _norm(gradients: Gradients, like: Tensor) -> Tensor:
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return sum(squares, start=like.new_zeros(())).sqrt()


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient, 0 where the denominator is 0 or not finite."""
    usable = (denominator > 0) & denominator.isfinite() & numerator.isfinite()
    return torch.where(usable, numerator / torch.where(usable, denominator, 1), 0)
