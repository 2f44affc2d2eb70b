"""Metrics of the last validation alone."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from pcka_mmdet.registry import HOOKS


@HOOKS.register_module()
class FreshMetricsHook(Hook):
    """Forgets a validation's metrics before the next one.

    MMEngine logs the last known ones again where a validation gives none, as MMDetection's does if nothing was
    detected.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget all of them but times."""
        scalars = runner.message_hub.log_scalars
        for name in [name for name in scalars if name.startswith("val/") and not name.endswith("time")]:
            del scalars[name]
