"""Steps whose loss is not finite: skipped up to a number in a row, and held so that they can be looked at again."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from pcka_mmdet.models import FPNDistill
from pcka_mmdet.registry import HOOKS

from ..random_state import RandomState, random_state
from ..runner import unwrapped_model

SKIPS_IN_MIXED_PRECISION = 10
"""Default of `max_skips` there. A `GradScaler` goes on for ever; a model that has diverged is better stopped."""


@dataclass(frozen=True)
class FailedStep:
    """A forward whose losses are not finite, and what they depend on besides the weights and the config."""

    batch: dict
    random_state: RandomState
    distillation: dict[str, Any]
    """What hooks set in the model: `factor`, `level_weights`, `stopped`."""
    problem: str
    """Which losses, and where it begins."""


@HOOKS.register_module(name=["NonFiniteLossHook", "KeepBatchHook"])
class NonFiniteLossHook(Hook):
    """Skips the steps of an `FPNDistill` whose loss is not finite, and ends the training after too many in a row.

    Skipped means that the optimizer does not step and that batch norm statistics are put back; of accumulated gradients
    all are dropped. Schedules and the count of iterations go on. All processes skip together: the one whose loss is not
    finite makes a gradient NaN, which the others receive by the all-reduce. While all is finite nothing else is sent.

    Args:
        max_skips: How many steps in a row are skipped; one more ends the training. By default 10 in mixed precision
            (`--amp`), else 0.

    Raises:
        ValueError: `max_skips` is below 0.
    """

    priority = "VERY_HIGH"  # before an average of the weights looks at the batch norm statistics

    def __init__(self, max_skips: int | None = None):
        if max_skips is not None and max_skips < 0:
            raise ValueError(f"NonFiniteLossHook: max_skips is at least 0, got {max_skips}")
        self.max_skips = max_skips
        self._held: tuple[dict, RandomState] | None = None
        """Batch of the forward that runs, and the random states that it starts from."""
        self._failed: FailedStep | None = None
        """The first of this process since the optimizer was last to step."""
        self._limit = 0
        self._in_a_row = 0
        self._stepped = False
        self._before: list[tuple[Tensor, Tensor]] = []
        """Buffers, each with its values before the step."""
        self._handles: list[Any] = []

    def failed_step(self, runner: Runner) -> FailedStep | None:
        """The step that failed in this process; `None` where it was in another one."""
        model = unwrapped_model(runner)
        if self._failed is None and getattr(model, "nonfinite", None):
            distillation = dict(
                factor=model.distiller.factor,
                level_weights=dict(model.distiller.level_weights),
                stopped=model.distillation_stopped,
            )
            self._failed = FailedStep(*self._held, distillation, model.nonfinite)
        return self._failed

    def before_train(self, runner: Runner) -> None:
        """Begin to watch the optimizer, where steps may be skipped."""
        model, mixed = unwrapped_model(runner), isinstance(runner.optim_wrapper, AmpOptimWrapper)
        default = SKIPS_IN_MIXED_PRECISION if mixed else 0
        self._limit = default if self.max_skips is None else self.max_skips
        if not isinstance(model, FPNDistill):
            self._limit = 0
        if not self._limit:
            return
        model.skips_nonfinite = True
        messenger = next(parameter for parameter in model.parameters() if parameter.requires_grad)

        def tell(gradient: Tensor) -> Tensor | None:  # runs before DDP's own hook
            return torch.full_like(gradient, torch.nan) if model.nonfinite else None

        def cancel(optimizer: Optimizer, *_: Any) -> None:
            told = messenger.grad is not None and bool(messenger.grad.flatten()[0].isnan())
            if told:
                optimizer.zero_grad(set_to_none=True)  # a parameter without a gradient is left as it is
            self._stepped = not told

        optimizer = runner.optim_wrapper.optimizer
        self._handles = [messenger.register_hook(tell), optimizer.register_step_pre_hook(cancel)]

    def after_train(self, runner: Runner) -> None:
        """Leave model and optimizer as they were."""
        for handle in self._handles:
            handle.remove()
        if self._limit:
            unwrapped_model(runner).skips_nonfinite = False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Hold what the step starts from."""
        self._held = data_batch, random_state()
        if self._limit and not self._before:
            self._before = [(buffer, buffer.clone()) for buffer in _changing_buffers(unwrapped_model(runner))]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Put back and log what was skipped.

        Raises:
            FloatingPointError: It is one step too many. All processes raise it.
        """
        if not self._limit:
            return
        failed = self.failed_step(runner)
        if not runner.optim_wrapper.should_update():
            return  # gradients are accumulated
        if self._stepped:
            self._in_a_row = 0
        else:
            self._skip(runner, failed and failed.problem)
        self._stepped, self._before, self._failed = False, [], None

    def _skip(self, runner: Runner, problem: str | None) -> None:
        problems = all_gather_object(problem)
        if not any(problems):
            return  # the gradients overflowed by the loss scale, which the GradScaler has now made smaller
        for buffer, before in self._before:
            buffer.copy_(before)
        self._in_a_row += 1
        several = get_world_size() > 1
        said = "; ".join(f"process {rank}: {p}" if several else p for rank, p in enumerate(problems) if p)
        if self._in_a_row > self._limit:
            raise FloatingPointError(
                f"{said}. So it was in {self._in_a_row} steps in a row; at most {self._limit} are skipped "
                "(NonFiniteLossHook's max_skips)"
            )
        where = f"iteration {runner.iter + 1} is skipped ({self._in_a_row} in a row, at most {self._limit})"
        print_log(f"{where}: {said}", "current", level=logging.WARNING)


def _changing_buffers(model: nn.Module) -> list[Tensor]:
    """What a forward may change: running statistics, but not those of frozen batch norms."""
    return [buffer for module in model.modules() if module.training for buffer in module.buffers(recurse=False)]
