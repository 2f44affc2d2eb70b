"""Remaining time, from the measured pace and from rough relative costs of stages that have not run yet."""

import time
from collections.abc import Sequence

from .stages import Stage

PACE = 0.08  # seconds per iteration of cost 1 until one is measured: a small detector on two cores
OVERHEAD = 15.0  # seconds per stage besides its iterations: imports, validation, checkpoints


class RemainingTime:
    """Remaining time of stages, of which `jobs` run at once."""

    def __init__(self, stages: Sequence[Stage], jobs: int):
        self._stages = stages
        self._jobs = jobs
        self._start = time.monotonic()
        self._started: dict[Stage, float] = {}

    def stage(self, stage: Stage) -> float:
        """Remaining seconds of a running stage."""
        self._started.setdefault(stage, time.monotonic())
        return self._left(stage, self._unit())

    def whole(self) -> tuple[float, float]:
        """Elapsed share of the run's time, 0 to 1, and remaining seconds."""
        unit = self._unit()
        left = sum(self._left(stage, unit) for stage in self._stages if not stage.is_done()) / self._jobs
        passed = time.monotonic() - self._start
        return passed / (passed + left) if passed + left else 1.0, left

    def _left(self, stage: Stage, unit: float) -> float:
        """Remaining seconds of a stage that is not done, by its own pace once it runs."""
        overhead, pace = OVERHEAD, stage.cost * unit
        if stage in self._started:
            overhead = max(0.0, OVERHEAD - (time.monotonic() - self._started[stage]))
            pace = stage.pace() or pace
        return overhead + (stage.iterations - stage.iterations_done()) * pace

    def _unit(self) -> float:
        """Seconds per iteration of cost 1, the mean over stages with a measured pace."""
        units = [pace / stage.cost for stage in self._stages if stage.cost and (pace := stage.pace())]
        return sum(units) / len(units) if units else PACE


def clock(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
