"""Centred kernel alignment (CKA), with its gradient in closed form; of many batches without keeping them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cka_forms import MIN_SAMPLES, SampleForm, check_samples, column, value_and_gradients


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
    """Computes the gradients in `forward`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, sides: tuple[int, ...], centering: str) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            value, gradients = value_and_gradients(x, y, centering, sides)
        ctx.save_for_backward(*gradients)
        ctx.sides = sides
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads: list[Tensor | None] = [None, None]
        for side, gradient in zip(ctx.sides, ctx.saved_tensors, strict=True):
            grads[side] = column(grad) * gradient
        return (*grads, None, None)


class MinibatchCKA:
    """Debiased CKA of each pair of representations, from batches of samples.

    The unbiased estimates HSIC_1 of the batches are summed before the quotient is taken (Nguyen, Raghu and Kornblith
    2021, eq. 3), so the result does not depend on the size of the batches, up to noise.

    Args:
        shape: Numbers of representations on either side.
    """

    def __init__(self, shape: tuple[int, int]):
        self.sums = torch.zeros(3, *shape, dtype=torch.float64)
        """Sums of HSIC_1 for each pair: of both, of the first with itself, of the second with itself. Those of several
        processes may be added."""

    def update(self, index: tuple[int, int], x: Tensor, y: Tensor) -> None:
        """Add a batch of one pair; a batch of fewer than 4 samples is left out.

        Args:
            index: The pair.
            x: Samples by features, `(N, D1)`.
            y: The same samples in the other representation, `(N, D2)`.
        """
        n = len(x)
        if n < MIN_SAMPLES["debias"]:
            return
        k, el = (SampleForm.gram((z - z.mean(0)).unsqueeze(0), "debias")[0] for z in (x.float(), y.float()))
        found = torch.stack([(a * b).sum() / (n * (n - 3)) for a, b in ((k, el), (k, k), (el, el))])
        self.sums[:, index[0], index[1]] += found.cpu().double()

    def values(self) -> Tensor:
        """CKA of each pair, float64; NaN where a representation was constant, or no batch was large enough."""
        both, first, second = self.sums
        return both / (first * second).sqrt()
