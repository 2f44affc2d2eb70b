"""Centred kernel alignment (CKA) and its gradient in closed form.

Shape shorthand: G groups, N samples (patches, for PCKA), D features; x is the student's matrix, y the teacher's.

With the Gram matrices K = xx', L = yy' and their projections K~, L~ (see `cka`),

    CKA = <K~, L~> / (|K~| |L~|),    dCKA/dx = 2 (L~ / (|K~| |L~|) - CKA K~ / |K~|^2) x.

Both forms give equal values, since |xx'| = |x'x| and <xx', yy'> = |x'y|^2. N and D decide which one costs less.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_SAMPLES = {"none": 2, "center": 3, "debias": 4}
"""Below this number of samples an estimator is constant or undefined."""

CENTERINGS = tuple(MIN_SAMPLES)


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
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    groups = x.shape[:-2]
    x, y = (z.to(dtype).reshape(groups.numel(), *z.shape[-2:]) for z in (x, y))
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


def min_samples(centering: str) -> int:
    """`MIN_SAMPLES` of a centering. Raises ValueError for an unknown one."""
    if centering not in CENTERINGS:
        raise ValueError(f"centering must be one of {CENTERINGS}, got {centering!r}")
    return MIN_SAMPLES[centering]


def check_samples(samples: int, centering: str) -> None:
    """Raise ValueError where `centering` is unknown, or needs more samples."""
    needed = min_samples(centering)
    if samples < needed:
        raise ValueError(
            f"centering={centering!r} needs at least {needed} samples, got {samples}: "
            "use another centering, or a patch size that gives more"
        )


def rescale(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
    """Matrices of magnitude 1, without column means if they are centred, and scales `(G, 1, 1)`: 0 for a dead group.

    The projections map the means to zero: removing them first improves precision.
    """
    info = torch.finfo(x.dtype)
    largest = _largest(x)
    noise = torch.full_like(largest, info.tiny)
    if centering != "none":
        noise += 8 * info.eps * largest
        x = x - x.mean(-2, keepdim=True)
        largest = _largest(x)
    scale = torch.where(largest <= noise, 0.0, 1 / largest)
    return x * scale, scale


def _largest(x: Tensor) -> Tensor:
    # not aminmax, which takes 20 times as long on a CPU
    return torch.maximum(x.amax((-2, -1), keepdim=True), -x.amin((-2, -1), keepdim=True))


def column(per_group: Tensor) -> Tensor:
    """`(G,)` as `(G, 1, 1)`."""
    return per_group[:, None, None]


def _inverse(norm_squared: Tensor, gram_norm_squared: Tensor) -> Tensor:
    """1 / |K~| of each group; 0 where |K~| is negligible against |K|: a dead group has no value and no gradient."""
    dead = norm_squared <= 16 * torch.finfo(norm_squared.dtype).eps * gram_norm_squared
    return torch.where(dead, 0.0, norm_squared.rsqrt())


def value_and_gradient(x: Tensor, y: Tensor, centering: str, wanted: bool = True) -> tuple[Tensor, Tensor | None]:
    """CKA `(G,)` of `(G, N, D1)` and `(G, N, D2)` by the cheaper form, and its gradient in x if that is wanted."""
    check_samples(x.shape[-2], centering)
    form = cheaper_form(x.shape[-2], x.shape[-1], y.shape[-1])
    (x, scale), (y, _) = rescale(x, centering), rescale(y, centering)
    value, gradient = form.evaluate(x, y, centering, wanted)
    return value, None if gradient is None else gradient.mul_(scale)


def cheaper_form(samples: int, features: int, teacher_features: int) -> type["SampleForm"] | type["FeatureForm"]:
    """The form that needs fewer multiply-adds for the value and the student's gradient."""
    sizes = samples, features, teacher_features
    return SampleForm if SampleForm.multiply_adds(*sizes) <= FeatureForm.multiply_adds(*sizes) else FeatureForm


class SampleForm:
    """K~ and L~ as N x N matrices; the arguments of `evaluate` are rescaled."""

    @staticmethod
    def multiply_adds(samples: int, features: int, teacher_features: int) -> int:
        """Multiply-adds of value and gradient per group, proportional to N^2 D."""
        return samples**2 * (2 * features + teacher_features)

    @classmethod
    def evaluate(cls, x: Tensor, y: Tensor, centering: str, wanted: bool) -> tuple[Tensor, Tensor | None]:
        (k, k_inverse), (el, el_inverse) = cls.gram(x, centering), cls.gram(y, centering)
        both = k_inverse * el_inverse
        value = (k * el).sum((-2, -1)) * both
        if not wanted:
            return value, None
        return value, (column(2 * both) * el + column(-2 * value * k_inverse.square()) * k) @ x

    @staticmethod
    def gram(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
        """K~ `(G, N, N)` and 1 / |K~| `(G,)`, 0 for a dead group."""
        gram = x @ x.mT
        whole = norm = (gram * gram).sum((-2, -1))
        if centering == "debias":
            n = gram.shape[-1]
            gram.diagonal(dim1=-2, dim2=-1).zero_()
            rows = gram.sum(-1, keepdim=True) / (n - 2)
            gram = gram - rows - rows.mT + rows.sum(-2, keepdim=True) / (n - 1)
            gram.diagonal(dim1=-2, dim2=-1).zero_()
            norm = (gram * gram).sum((-2, -1))
        return gram, _inverse(norm, whole)


class FeatureForm:
    """K~ and L~ through D x D products, for many samples of few features; no N x N matrix is formed."""

    @staticmethod
    def multiply_adds(samples: int, features: int, teacher_features: int) -> int:
        """Multiply-adds of value and gradient per group, proportional to N D^2."""
        return samples * (2 * features * (features + teacher_features) + teacher_features**2)

    @classmethod
    def evaluate(cls, x: Tensor, y: Tensor, centering: str, wanted: bool) -> tuple[Tensor, Tensor | None]:
        xx, yy, xy = x.mT @ x, y.mT @ y, x.mT @ y
        x_inverse, y_inverse = (_inverse(*cls._inner(z, z, zz, centering)) for z, zz in ((x, xx), (y, yy)))
        both = x_inverse * y_inverse
        value = cls._inner(x, y, xy, centering)[0] * both
        if not wanted:
            return value, None
        towards, away = column(2 * both), column(-2 * value * x_inverse.square())
        gradient = torch.baddbmm(y @ (towards * xy.mT), x, away * xx)
        if centering == "debias":
            gradient = gradient + towards * cls._correction(y, x) + away * cls._correction(x, x)
        return value, gradient

    @staticmethod
    def _correction(z: Tensor, x: Tensor) -> Tensor:
        """What U-centring adds to zz' (diagonal, row and column terms, total), times x."""
        n = x.shape[-2]
        rows = -z.square().sum(-1, keepdim=True)
        means = rows / (n - 2)
        shift = (means * x).sum(-2, keepdim=True)
        total = means.sum(-2, keepdim=True) / (n - 1)
        return (rows + 2 * means - total) * x - shift

    @staticmethod
    def _inner(x: Tensor, y: Tensor, product: Tensor, centering: str) -> tuple[Tensor, Tensor]:
        """<K~, L~> and <K, L> from x'y."""
        whole = (product * product).sum((-2, -1))
        if centering != "debias":
            return whole, whole
        # xx' and yy' with zero diagonals: their row sums are minus the diagonals, as the column means are zero
        n = x.shape[-2]
        x_rows, y_rows = -x.square().sum(-1), -y.square().sum(-1)
        inner = whole - (x_rows * y_rows).sum(-1) * (1 + 2 / (n - 2))
        return inner + x_rows.sum(-1) * y_rows.sum(-1) / ((n - 1) * (n - 2)), whole


def rows_and_columns(x: Tensor, y: Tensor, with_gradients: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Uncentred CKA `(G,)` of two rescaled matrices `(G, N, D)` and of their transposes, and the gradients in x.

    |x'x| = |K|, and <x'x, y'y> = |M|^2 with M = xy'. So the CKA of columns is |M|^2 / (|K| |L|), and its gradient
    2 (M y / (|K| |L|) - CKA K x / |K|^2). All products are N x N, where N is the shorter side.
    """
    if x.shape[-2] > x.shape[-1]:
        values, gradients = rows_and_columns(x.mT, y.mT, with_gradients)
        return values[::-1], [gradient.mT for gradient in reversed(gradients)]
    (k, k_inverse), (el, el_inverse) = (SampleForm.gram(matrix, "none") for matrix in (x, y))
    m = x @ y.mT
    both = k_inverse * el_inverse
    values = [(k * el).sum((-2, -1)) * both, (m * m).sum((-2, -1)) * both]
    if not with_gradients:
        return values, []
    away = [column(-2 * value * k_inverse.square()) * k for value in values]
    rows = (column(2 * both) * el + away[0]) @ x
    columns = torch.baddbmm(away[1] @ x, column(2 * both) * m, y)
    return values, [rows, columns]
