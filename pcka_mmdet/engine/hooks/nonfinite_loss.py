"""Skip steps whose loss is not finite, and hold the failed step so that it can be saved."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.models.outputs import ADVICE
from pcka_mmdet.registry import HOOKS

from ..runner import RandomState, fpn_distill, random_state, unwrapped_model

SKIPS_IN_MIXED_PRECISION = 10
"""The default of `max_skips` in mixed precision. A `GradScaler` has no limit; a diverged model should stop."""


@dataclass(frozen=True)
class FailedStep:
    """A forward whose losses are not finite, with all that they depend on except weights and config."""

    batch: dict
    random_state: RandomState
    augments: list[dict[str, Any]]  # state of the preprocessor's batch augmentations: YOLOX's image size
    distillation: dict[str, Any]  # `factor` and `stopped`, which hooks set in the model, and the training's progress
    problem: str  # which losses are not finite, and where that begins


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Skips the steps of an `FPNDistill` whose loss or gradient is not finite; ends the training after too many.

    In a skipped step the optimizer does not step, accumulated gradients are dropped, buffers such as batch norm
    statistics are restored, and losses and a `grad_norm` that are not finite are not logged. Schedules and the
    iteration count go on. All processes skip together: the bad loss has gradients of NaN, which the all-reduce carries
    to all processes. So finite steps need no further communication. Once a step, after the backward pass, the host
    reads whether all gradients are finite; with a `GradScaler` the scaler does so.

    Args:
        max_skips: How many steps in a row may be skipped; one more ends the training. Default: 10 in mixed precision
            (`--amp`), else 0.

    Raises:
        ValueError: `max_skips` is below 0.
    """

    priority = 5  # before RuntimeInfoHook (10) logs the losses, and EMAHook reads the batch norm statistics

    def __init__(self, max_skips: int | None = None):
        if max_skips is not None and max_skips < 0:
            raise ValueError(f"NonFiniteLossHook: max_skips is at least 0, got {max_skips}")
        self.max_skips = max_skips
        # the batch of the current forward, and the states of random numbers and batch augmentations before it
        self._held: tuple[dict, RandomState, list[dict]] | None = None
        self._failed: FailedStep | None = None  # the first of this process since the last update
        self._limit = 0
        self._in_a_row = 0
        self._stepped = False
        self._buffers: list[tuple[list[Tensor], list[Tensor]]] = []  # of the model, by type, and copies of their values
        self._holds_copies = False  # made before the step whose gradients are accumulated now
        self._handle: Any = None

    def failed_step(self, runner: Runner) -> FailedStep | None:
        """The step that failed in this process; `None` where none did."""
        model = unwrapped_model(runner)
        if self._failed is None and getattr(model, "nonfinite", None):
            progress = {name: getattr(runner, name) for name in ("epoch", "iter", "max_iters", "seed")}
            distillation = dict(progress, factor=model.distiller.factor, stopped=model.distillation_stopped)
            self._failed = FailedStep(*self._held, distillation, model.nonfinite)
        return self._failed

    def before_train(self, runner: Runner) -> None:
        model, wrapper = fpn_distill(runner), runner.optim_wrapper
        if model is None:
            return
        default = SKIPS_IN_MIXED_PRECISION if isinstance(wrapper, AmpOptimWrapper) else 0
        self._limit = default if self.max_skips is None else self.max_skips
        if not self._limit:
            return
        model.skips_nonfinite = True
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.numel()]
        # a GradScaler steps with finite gradients only, unless the optimizer looks at them by itself
        scaled = _scales(wrapper) and not getattr(wrapper.optimizer, "_step_supports_amp_scaling", False)

        def drop_nan(optimizer: Optimizer, *_: Any) -> None:
            gradients = [] if scaled else [p.grad for p in parameters if p.grad is not None]
            # here the host waits
            finite = torch.stack(torch._foreach_norm(gradients, torch.inf)).isfinite().all() if gradients else True
            self._stepped = bool(finite)
            if not self._stepped:
                optimizer.zero_grad(set_to_none=True)  # optimizers leave a parameter without a gradient as it is

        self._handle = wrapper.optimizer.register_step_pre_hook(drop_nan)
        if getattr(wrapper, "clip_grad_kwargs", None):
            wrapper.clip_func = _without_nan(wrapper.clip_func)

    def after_train(self, runner: Runner) -> None:
        if self._limit:
            self._handle.remove()
            unwrapped_model(runner).skips_nonfinite = False

    def before_train_epoch(self, runner: Runner) -> None:
        self._buffers = []  # a hook may have changed the model

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        model = fpn_distill(runner)
        if model is None:
            return
        augments = batch_augments(model)
        if augments:  # they change boxes in place
            data_batch = {**data_batch, "data_samples": copy.deepcopy(data_batch["data_samples"])}
        # a saved step is repeated on the CPU: the states of GPUs are of no use to it
        self._held = data_batch, random_state(gpus=False), [_plain_state(augment) for augment in augments]
        if not self._limit or self._holds_copies:
            return
        if not self._buffers:
            groups: dict[torch.dtype, list[Tensor]] = {}
            for buffer in model.buffers():
                groups.setdefault(buffer.dtype, []).append(buffer)
            self._buffers = [(group, list(map(torch.empty_like, group))) for group in groups.values()]
        for buffers, copies in self._buffers:
            torch._foreach_copy_(copies, buffers)
        self._holds_copies = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Restore the buffers of a skipped step, and take losses that are not finite out of its log: MMEngine's means
        would be NaN for as long as they look back.

        Raises:
            FloatingPointError: More than `max_skips` steps in a row failed. All processes raise it.
        """
        if not self._limit:
            return
        failed = self.failed_step(runner)
        if unwrapped_model(runner).nonfinite:
            for name in [name for name in outputs if "loss" in name and not outputs[name].isfinite()]:
                del outputs[name]
        if not runner.optim_wrapper.should_update():
            return  # gradients are accumulated
        if self._stepped:
            self._in_a_row = 0
        else:
            self._skip(runner, failed and failed.problem)
        self._stepped, self._holds_copies, self._failed = False, False, None

    def _skip(self, runner: Runner, problem: str | None) -> None:
        problems = all_gather_object(problem)
        if not any(problems):
            if _scales(runner.optim_wrapper):
                return  # the gradients overflowed by the loss scale, which the GradScaler has now lowered
            problems = [f"a gradient is not finite; the losses are finite. {ADVICE}"]
        for buffers, copies in self._buffers:
            torch._foreach_copy_(buffers, copies)
        self._in_a_row += 1
        several = len(problems) > 1
        text = "; ".join(f"process {rank}: {p}" if several else p for rank, p in enumerate(problems) if p)
        if self._in_a_row > self._limit:
            raise FloatingPointError(
                f"{text}. It happened in {self._in_a_row} steps in a row; at most {self._limit} are skipped "
                "(NonFiniteLossHook's max_skips)"
            )
        where = f"iteration {runner.iter + 1} is skipped ({self._in_a_row} in a row, at most {self._limit})"
        warn(f"{where}: {text}")


def batch_augments(model: nn.Module) -> list[nn.Module]:
    """The batch augmentations of a detector's preprocessor. MMPretrain's is no module list, and keeps no state."""
    augments = getattr(model.data_preprocessor, "batch_augments", None)
    return list(augments) if isinstance(augments, nn.ModuleList) else []


def _plain_state(augment: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(augment).items() if isinstance(value, (int, float, tuple))}


def _scales(wrapper: OptimWrapper) -> bool:
    """Whether an optimizer wrapper scales the loss by a `GradScaler`."""
    scaler = getattr(wrapper, "loss_scaler", None)
    return scaler is not None and scaler.is_enabled()


def _without_nan(clip: Callable[..., Tensor | None]) -> Callable[..., float | None]:
    """Clip gradients, and return no norm that is not finite: MMEngine would log it."""

    def clip_func(parameters: Sequence[Tensor], **options: Any) -> float | None:
        norm = clip(parameters, **options)
        norm = None if norm is None else float(norm)  # as MMEngine does next
        return norm if norm is not None and math.isfinite(norm) else None

    return clip_func
