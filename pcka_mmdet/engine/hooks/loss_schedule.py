"""A factor for the distillation losses: ramped up, and 0 in iterations that are left out."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from pcka_mmdet.models import FPNDistill
from pcka_mmdet.registry import HOOKS

from ..runner import unwrapped_model


@HOOKS.register_module()
class LossScheduleHook(Hook):
    """Sets the factor of all distillation losses in each iteration; at 0 the teacher does not run.

    The factor depends on the iteration alone, so it is the same in every process and in a resumed training.
    `mmrazor.StopDistillHook` stops distillation after an epoch.

    Args:
        ramp: Number of iterations over which the factor rises linearly from 0 to 1.
        every: Distil when `iteration % every == 0`; in the other iterations the losses are 0. Loss weights are not
            raised to make up for them.
        stop: Iteration from which on the distillation has stopped; `None` distils to the end.

    Raises:
        ValueError: `ramp` is below 0, `every` or `stop` below 1, or the model is not an `FPNDistill`.
    """

    def __init__(self, ramp: int = 0, every: int = 1, stop: int | None = None):
        if ramp < 0 or every < 1 or (stop is not None and stop < 1):
            raise ValueError(
                f"LossScheduleHook: ramp is at least 0, every and stop at least 1, got {ramp=}, {every=}, {stop=}"
            )
        self.ramp = ramp
        self.every = every
        self.stop = stop

    def factor(self, iteration: int) -> float:
        """The factor, in [0, 1], of an iteration counted from 0."""
        if iteration % self.every or (self.stop is not None and iteration >= self.stop):
            return 0.0
        return min(1.0, iteration / self.ramp) if self.ramp else 1.0

    def before_train(self, runner: Runner) -> None:
        """Refuse a model whose losses cannot be scheduled."""
        model = unwrapped_model(runner)
        if not isinstance(model, FPNDistill):
            raise ValueError(
                f"LossScheduleHook schedules the losses of pcka_mmdet.FPNDistill, and the model is a "
                f"{type(model).__name__}: take it out of custom_hooks"
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the factor of this iteration."""
        model = unwrapped_model(runner)
        model.distiller.factor = self.factor(runner.iter)
        if self.stop is not None and runner.iter >= self.stop:
            model.distillation_stopped = True
