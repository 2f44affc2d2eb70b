"""Centred kernel alignment (CKA) of two representations, with its gradient in closed form."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cka_forms import cheaper_form, check_samples, column, rescale


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
    check_samples(x.shape[-2], centering)
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    groups, samples = x.shape[:-2], x.shape[-2]
    x = x.to(dtype).reshape(-1, samples, x.shape[-1])
    y = y.to(dtype).reshape(-1, samples, y.shape[-1])
    sides = tuple(side for side, z in enumerate((x, y)) if z.requires_grad and torch.is_grad_enabled())
    return _CKA.apply(x, y, sides, centering).reshape(groups)


class _CKA(torch.autograd.Function):
    """Saves for backward the matrices and weights whose products are the gradients."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, sides: tuple[int, ...], centering: str) -> Tensor:
        form = cheaper_form(x.shape[-2], x.shape[-1], y.shape[-1])
        with torch.autocast(x.device.type, enabled=False):
            matrices, scales = zip(*(rescale(matrix, centering) for matrix in (x, y)), strict=True)
            value, weights = form.evaluate(*matrices, centering, sides)
        kept = [matrix if form.needs_other or side in sides else None for side, matrix in enumerate(matrices)]
        # the scales of all sides, then their first weights, and so on
        interleaved = zip(*((scales[side], *weights[index]) for index, side in enumerate(sides)), strict=True)
        ctx.save_for_backward(*kept, *(tensor for turn in interleaved for tensor in turn))
        ctx.form, ctx.sides, ctx.centering = form, sides, centering
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        matrices, rest = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        grads: list[Tensor | None] = [None, None]
        with torch.autocast(grad.device.type, enabled=False):
            for index, side in enumerate(ctx.sides):
                scale, *weights = rest[index :: len(ctx.sides)]
                gradient = ctx.form.gradient(matrices[side], matrices[1 - side], tuple(weights), ctx.centering)
                grads[side] = gradient.mul_(column(grad) * scale)
        return (*grads, None, None)
