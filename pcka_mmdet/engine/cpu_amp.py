"""Mixed precision on the CPU, which MMEngine's wrapper refuses."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from pcka_mmdet.registry import OPTIM_WRAPPERS

DTYPES = ("bfloat16", "float16")


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(AmpOptimWrapper):
    """MMEngine's `AmpOptimWrapper` with autocast on the CPU.

    Args:
        dtype: `'bfloat16'` (no loss scaling) or `'float16'` (with loss scaling; torch 2.3 or newer).
        loss_scale: `'dynamic'`, a fixed scale above 0, or options of `torch.amp.GradScaler`.
        **options: See `mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: `dtype` or `loss_scale` is none of these, or torch is too old for `'float16'`.
    """

    def __init__(self, dtype: str = DTYPES[0], loss_scale: str | float | dict = "dynamic", **options: Any):
        OptimWrapper.__init__(self, **options)  # AmpOptimWrapper's own requires a GPU
        if dtype not in DTYPES:
            raise ValueError(f"CpuAmpOptimWrapper: dtype must be one of {DTYPES}, got {dtype!r}")
        self.cast_dtype = getattr(torch, dtype)
        fixed, scaling = _loss_scaling(loss_scale)
        self.loss_scaler = _scaler(dtype == "float16", scaling)
        self._scale_update_param = fixed

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the model's forward under CPU autocast to `dtype`."""
        with OptimWrapper.optim_context(self, model), torch.autocast("cpu", self.cast_dtype):
            yield


def _scaler(scales: bool, options: dict) -> "torch.amp.GradScaler":
    """A scaler of the loss; one that does nothing if it is not to scale."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cpu", enabled=scales, **options)
    if scales:
        raise ValueError(
            f"CpuAmpOptimWrapper: dtype='float16' needs torch 2.3 or newer, this is {torch.__version__}: write "
            "dtype='bfloat16'"
        )
    return torch.cuda.amp.GradScaler(enabled=False)


def _loss_scaling(loss_scale: str | float | dict) -> tuple[float | None, dict]:
    """The fixed scale (`None` for a dynamic one), and the options of the `GradScaler`."""
    if loss_scale == "dynamic":
        return None, {}
    if isinstance(loss_scale, dict):
        return None, loss_scale
    if isinstance(loss_scale, (int, float)) and not isinstance(loss_scale, bool) and 0 < loss_scale < float("inf"):
        return float(loss_scale), {"init_scale": float(loss_scale)}
    raise ValueError(
        "CpuAmpOptimWrapper: loss_scale must be 'dynamic', a number above 0 such as 512, or a dict of options of "
        f"torch.amp.GradScaler such as dict(init_scale=512.0), got {loss_scale!r}"
    )
