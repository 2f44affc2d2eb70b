"""A warning where a distillation works against the task, drowns it, or is drowned by it."""

import logging
import re
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from pcka_mmdet.registry import HOOKS

from ..runner import unwrapped_model

AGAINST = -0.05
"""Mean cosine below which a loss works against the task."""

DROWNS = 5.0
"""Mean ratio of gradients, after scaling, above which a loss drowns the task."""

VANISHES = 0.01
"""Mean ratio likewise, below which a loss does nothing."""

SHORTEST = 50
"""Least iterations whose means are judged: the balance's averages are over as many."""

_COSINE = re.compile(r"balance\.cosine_(\w+)")


@HOOKS.register_module()
class BalanceAdviceHook(Hook):
    """Warns once for each loss whose gradient points against the task's for a while, or is far larger or smaller.

    It reads what `GradientBalance` logs; `tools/train.py` registers it.

    Args:
        iterations: Length of that while; `None` takes an epoch, or `SHORTEST` if that is longer.
    """

    def __init__(self, iterations: int | None = None):
        self.iterations = iterations
        self._sums: dict[str, tuple[int, float, float]] = {}
        """By name: steps, sum of the cosines, sum of the ratios after scaling."""
        self._warned: set[tuple[str, str]] = set()

    def before_train(self, runner: Runner) -> None:
        """Find the length of an epoch."""
        if self.iterations is None:
            loader = runner.train_dataloader
            self.iterations = max(SHORTEST, len(loader) if hasattr(loader.dataset, "__len__") else 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        """Take a step's values into the sums, and warn where their means call for it."""
        if getattr(unwrapped_model(runner), "distillation_stopped", False):
            return  # the averages stand still
        for key, cosine in (outputs or {}).items():
            if match := _COSINE.fullmatch(key):
                name = match[1]
                ratio = float(outputs[f"balance.ratio_{name}"]) * float(outputs[f"balance.scale_{name}"])
                steps, cosines, ratios = self._sums.get(name, (0, 0.0, 0.0))
                self._sums[name] = steps + 1, cosines + float(cosine), ratios + ratio
        if self._sums and max(steps for steps, *_ in self._sums.values()) >= self.iterations:
            self._judge()
            self._sums.clear()

    def _judge(self) -> None:
        for name, (steps, cosines, ratios) in self._sums.items():
            if cosines / steps < AGAINST:
                self._warn(
                    ("against", name),
                    f"balance.cosine_{name} was {cosines / steps:.2f} on average over {steps} iterations: the gradient "
                    "of distillation points against the task's. Lower its ratio or weight, or leave the loss out",
                )
            said = f"the gradient of distillation ({name}) was {ratios / steps:.2g} times the task's on average over "
            said += f"{steps} iterations"
            if ratios / steps > DROWNS:
                advice = "the task hardly learns. Write model.balance.ratio=1.0, or a smaller ratio or weight"
                self._warn(("drowns", name), f"{said}: {advice}")
            if 0 < ratios / steps < VANISHES:
                advice = "the distillation does nothing. Write model.balance.ratio=1.0, or a larger ratio or weight"
                self._warn(("vanishes", name), f"{said}: {advice}")

    def _warn(self, key: tuple[str, str], text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            print_log(text, "current", level=logging.WARNING)
