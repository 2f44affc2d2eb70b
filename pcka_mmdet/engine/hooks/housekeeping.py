"""Two small repairs of a training: metrics of the last validation alone, and gradients that are clipped apart."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from pcka_mmdet.models import FPNDistill
from pcka_mmdet.registry import HOOKS

from ..runner import unwrapped_model


@HOOKS.register_module()
class FreshMetricsHook(Hook):
    """Forgets a validation's metrics before the next one.

    MMEngine logs the last known ones again where a validation gives none, as MMDetection's does if nothing was
    detected.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """Delete every `val/*` scalar except times."""
        scalars = runner.message_hub.log_scalars
        for name in [name for name in scalars if name.startswith("val/") and not name.endswith("time")]:
            del scalars[name]


@HOOKS.register_module()
class SeparateClippingHook(Hook):
    """Clips (`optim_wrapper.clip_grad`) the gradients of an `FPNDistill`'s losses apart from the student's.

    Connectors and generators learn at their own gradient, whatever the balance. It may be much larger than the
    student's. Clipped by one norm for both, it would shrink the student's steps. `grad_norm` in the log is the
    student's.
    """

    priority = "HIGHEST"  # before NonFiniteLossHook, which reads the norm that is logged

    def before_train(self, runner: Runner) -> None:
        """Replace the function by which the optimizer wrapper clips."""
        model, wrapper = unwrapped_model(runner), runner.optim_wrapper
        if not isinstance(model, FPNDistill) or not getattr(wrapper, "clip_grad_kwargs", None):
            return
        of_losses, clip = set(model.distiller.parameters()), wrapper.clip_func

        def clip_apart(parameters: Sequence[Tensor], **options: Any) -> Tensor | None:
            losses, student = [p for p in parameters if p in of_losses], [p for p in parameters if p not in of_losses]
            if losses:  # clipping by value takes no empty list
                clip(losses, **options)
            return clip(student, **options) if student else None

        wrapper.clip_func = clip_apart
