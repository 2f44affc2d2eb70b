"""Mixed precision on the CPU, which MMEngine's wrapper refuses."""

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from pcka_mmdet.registry import OPTIM_WRAPPERS

DTYPES = ("bfloat16", "float16")


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(AmpOptimWrapper):
    """MMEngine's `AmpOptimWrapper` with autocast on the CPU.

    Args:
        dtype: `'bfloat16'`, which needs no loss scaling, or `'float16'`, which has it.
        loss_scale: `'dynamic'`, a fixed scale, or options of `torch.amp.GradScaler`.
        **options: See `mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: `dtype` is another one.
    """

    def __init__(self, dtype: str = DTYPES[0], loss_scale: str | float | dict = "dynamic", **options):
        OptimWrapper.__init__(self, **options)  # the parent's asserts a GPU
        if dtype not in DTYPES:
            raise ValueError(f"CpuAmpOptimWrapper: dtype must be one of {DTYPES}, got {dtype!r}")
        self.cast_dtype = getattr(torch, dtype)
        fixed = loss_scale if isinstance(loss_scale, float) else None
        options = loss_scale if isinstance(loss_scale, dict) else {"init_scale": fixed or 2.0**16}
        self.loss_scaler = torch.amp.GradScaler("cpu", enabled=dtype == "float16", **options)
        self._scale_update_param = fixed

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the model's forward in `dtype` where torch deems that safe."""
        with OptimWrapper.optim_context(self, model), torch.autocast("cpu", self.cast_dtype):
            yield
