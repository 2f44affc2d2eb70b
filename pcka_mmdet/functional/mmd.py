"""Maximum mean discrepancy (MMD) of two representations."""

import torch
from torch import Tensor

from .cka import rescale

KERNELS = ("linear", "rbf")


def mmd(x: Tensor, y: Tensor, kernel: str = "linear") -> Tensor:
    """Squared maximum mean discrepancy, in one of two forms.

    `'linear'`: (mean K^ - mean L^)^2, where K^ and L^ are the Gram matrices xx' and yy', scaled to a Frobenius norm of
    1, and the mean is taken over their N^2 entries. The paper's Theorem 2 bounds it by 2 (1 - CKA) / N^2, with the
    uncentred CKA. It is within [0, 1 / N^2] and does not depend on the scale of x or y. A Gram matrix of zeros has the
    mean 0.

    `'rbf'`: the unbiased two-sample estimate between the rows of x and the rows of y (Gretton et al. 2012, eq. 3), with
    the kernel exp(-|a - b|^2 / (2 s^2)). s is the median distance between two rows of both (1 if that is 0), and a
    constant for the gradient. The estimate may be negative.

    Args:
        x: Samples by features, `(..., N, D1)`.
        y: Samples by features, `(..., N, D2)`; for `'rbf'` D2 = D1.
        kernel: `'linear'` or `'rbf'`.

    Returns:
        Values `(...,)` in float32 or wider, differentiable in both arguments.

    Raises:
        ValueError: The shapes do not match, `kernel` is unknown, or N is below 2.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {KERNELS}, got {kernel!r}")
    if x.dim() < 2 or x.shape[:-1] != y.shape[:-1] or (kernel == "rbf" and x.shape != y.shape):
        widths = "(..., N, D) twice" if kernel == "rbf" else "(..., N, D1) and (..., N, D2)"
        raise ValueError(f"mmd, {kernel}: expected {widths}, got {tuple(x.shape)} and {tuple(y.shape)}")
    if x.shape[-2] < 2:
        raise ValueError(f"mmd needs at least 2 samples, got {x.shape[-2]}")
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        x, y = x.to(dtype), y.to(dtype)
        return (_mean_of_gram(x) - _mean_of_gram(y)).square() if kernel == "linear" else _two_samples(x, y)


def _mean_of_gram(x: Tensor) -> Tensor:
    """Mean of xx' / |xx'|: the squared norm of the sum of rows, over N^2 and the norm."""
    samples, features = x.shape[-2:]
    x = x * rescale(x.detach(), "none")[1]
    gram = x @ x.mT if samples <= features else x.mT @ x  # of equal norm
    dead = gram.detach().square().sum((-2, -1)) == 0
    norm = torch.where(dead[..., None, None], 1.0, gram).square().sum((-2, -1)).sqrt()
    return torch.where(dead, 0.0, x.sum(-2).square().sum(-1) / (samples**2 * norm))


def _two_samples(x: Tensor, y: Tensor) -> Tensor:
    samples = x.shape[-2]
    both = torch.cat([x, y], -2)
    both = both - both.detach().mean(-2, keepdim=True)  # for precision
    squares = both.square().sum(-1)
    distances = (squares[..., None] + squares[..., None, :] - 2 * both @ both.mT).clamp(min=0)
    rows, columns = torch.triu_indices(2 * samples, 2 * samples, offset=1, device=x.device)
    between = distances.detach()[..., rows, columns].sort(-1).values
    middle = between[..., (between.shape[-1] - 1) // 2, None, None]  # torch's median is not deterministic on a GPU
    kernel = torch.exp(-distances / (2 * torch.where(middle > 0, middle, 1.0)))
    within = kernel[..., :samples, :samples], kernel[..., samples:, samples:]
    total = sum(k.sum((-2, -1)) - k.diagonal(dim1=-2, dim2=-1).sum(-1) for k in within)
    return total / (samples * (samples - 1)) - 2 * kernel[..., :samples, samples:].mean((-2, -1))
