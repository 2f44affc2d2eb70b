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

    It reads what MMEngine has logged of `GradientBalance`, once in a while; `tools/train.py` registers it.

    Args:
        iterations: Length of that while; `None` takes an epoch, or `SHORTEST` if that is longer.
    """

    def __init__(self, iterations: int | None = None):
        self.iterations = iterations
        self._steps = 0
        """Steps since the last judgement."""
        self._warned: set[tuple[str, str]] = set()

    def before_train(self, runner: Runner) -> None:
        """Find the length of an epoch."""
        if self.iterations is None:
            loader = runner.train_dataloader
            self.iterations = max(SHORTEST, len(loader) if hasattr(loader.dataset, "__len__") else 0)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        """Warn where the means over the last steps call for it."""
        if getattr(unwrapped_model(runner), "distillation_stopped", False):
            return  # the averages stand still
        self._steps += 1
        if self._steps == self.iterations:
            self._steps = 0
            logged = runner.message_hub.log_scalars
            matches = [match for match in map(_COSINE.fullmatch, outputs or ()) if match]
            for name in [match[1] for match in matches if f"train/{match[0]}" in logged]:
                cosines, ratios, scales = (
                    logged[f"train/balance.{what}_{name}"].data[0][-self.iterations :]
                    for what in ("cosine", "ratio", "scale")
                )
                self._judge(name, len(cosines), cosines.mean(), (ratios * scales).mean())

    def _judge(self, name: str, steps: int, cosine: float, ratio: float) -> None:
        if cosine < AGAINST:
            self._warn(
                ("against", name),
                f"balance.cosine_{name} was {cosine:.2f} on average over {steps} iterations: the gradient of "
                "distillation points against the task's. Lower its ratio or weight, or leave the loss out",
            )
        said = (
            f"the gradient of distillation ({name}) was {ratio:.2g} times the task's on average over {steps} iterations"
        )
        if ratio > DROWNS:
            advice = "the task hardly learns. Write model.balance.ratio=1.0, or a smaller ratio or weight"
            self._warn(("drowns", name), f"{said}: {advice}")
        if 0 < ratio < VANISHES:
            advice = "the distillation does nothing. Write model.balance.ratio=1.0, or a larger ratio or weight"
            self._warn(("vanishes", name), f"{said}: {advice}")

    def _warn(self, key: tuple[str, str], text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            print_log(text, "current", level=logging.WARNING)
