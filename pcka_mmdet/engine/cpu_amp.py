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
        OptimWrapper.__init__(self, **options)  # AmpOptimWrapper.__init__ requires a GPU
        if dtype not in DTYPES:
            raise ValueError(f"CpuAmpOptimWrapper: dtype must be one of {DTYPES}, got {dtype!r}")
        self.cast_dtype = getattr(torch, dtype)
        self._scale_update_param = None
        if isinstance(loss_scale, dict):
            scaling = loss_scale
        elif loss_scale == "dynamic":
            scaling = {}
        elif isinstance(loss_scale, (int, float)) and loss_scale is not True and 0 < loss_scale < float("inf"):
            self._scale_update_param = float(loss_scale)
            scaling = {"init_scale": float(loss_scale)}
        else:
            raise ValueError(
                "CpuAmpOptimWrapper: loss_scale must be 'dynamic', a number above 0 (512), or options of "
                f"torch.amp.GradScaler (dict(init_scale=512.0)), got {loss_scale!r}"
            )
        if hasattr(torch.amp, "GradScaler"):
            self.loss_scaler = torch.amp.GradScaler("cpu", enabled=dtype == "float16", **scaling)
        elif dtype == "float16":
            raise ValueError(f"float16 needs torch 2.3 or newer, got {torch.__version__}: write dtype='bfloat16'")
        else:
            self.loss_scaler = torch.cuda.amp.GradScaler(enabled=False)

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the model's forward under CPU autocast to `dtype`."""
        with OptimWrapper.optim_context(self, model), torch.autocast("cpu", self.cast_dtype):
            yield
