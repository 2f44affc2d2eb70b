"""Centred kernel alignment (CKA), with its gradient in closed form."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cka_forms import check_samples, column, value_and_gradient


def cka(x: Tensor, y: Tensor, centering: str = "center") -> Tensor:
    """Centred kernel alignment of two representations of the same samples, linear kernel.

    Args:
        x: Samples by features, `(..., N, D1)`.
        y: The same samples in another representation, `(..., N, D2)`.
        centering: The projection K~ of a Gram matrix K. `'none'`: K itself (the code that the paper's authors
            released). `'center'`: HKH with H = I - 11'/N (Kornblith et al. 2019). `'debias'`: the U-centred K; the
            ratio then equals that of the unbiased HSIC_1 estimates (Song et al. 2012, eq. 5).

    Returns:
        Similarity `(...,)` in float32, or float64 if an input is float64. It is within [0, 1], for `'debias'` within
        [-1, 1], and does not depend on the scale of x or y. Where either Gram matrix is zero (a dead channel) the value
        is 0 and the gradient exactly zero. Differentiable once, in both arguments.

    Raises:
        ValueError: The shapes do not match, `centering` is unknown, or N is below `MIN_SAMPLES[centering]`.
    """
    if x.dim() < 2 or x.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            "expected (..., N, D1) and (..., N, D2) with the same groups and samples, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    groups, samples = x.shape[:-2], x.shape[-2]
    check_samples(samples, centering)  # before reshape, which refuses 0 samples
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x = x.to(dtype).reshape(-1, samples, x.shape[-1])
    y = y.to(dtype).reshape(-1, samples, y.shape[-1])
    wanted = tuple(z.requires_grad and torch.is_grad_enabled() for z in (x, y))
    return _CKA.apply(x, y, centering, wanted).reshape(groups)


class _CKA(torch.autograd.Function):
    """Computes the wanted gradients in `forward`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, centering: str, wanted: tuple[bool, bool]) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            value, x_gradient = value_and_gradient(x, y, centering, wanted[0])
            y_gradient = value_and_gradient(y, x, centering)[1] if wanted[1] else None
        ctx.save_for_backward(x_gradient, y_gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if saved is None else column(grad) * saved for saved in ctx.saved_tensors)
        return *gradients, None, None
