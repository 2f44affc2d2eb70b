"""Centred kernel alignment (CKA) with its gradient in closed form.

Shape shorthand: `...` groups, N samples (patches, for PCKA), D features; x is the student's matrix, y the teacher's.

With the Gram matrices K = xx' and L = yy' and K~, L~ their projections (see `cka`),

    CKA = <K~, L~> / (|K~| |L~|),    dCKA/dx = 2 (L~ / (|K~| |L~|) - CKA K~ / |K~|^2) x.

K~ is a linear projection of K, so this one value and this one gradient serve all three estimators. They are evaluated
in whichever of two forms costs less: with N x N Gram matrices, or with D x D products, by |xx'| = |x'x| and
<xx', yy'> = |x'y|^2.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CENTERINGS = ("none", "center", "debias")
MIN_SAMPLES = {"none": 2, "center": 3, "debias": 4}
"""Below this number of samples an estimator is constant or undefined."""


def cka(x: Tensor, y: Tensor, centering: str = "center") -> Tensor:
    """Centred kernel alignment of two representations of the same samples, linear kernel.

    Args:
        x: Samples by features, `(..., N, D1)`.
        y: The same samples in another representation, `(..., N, D2)`.
        centering: The projection K~ of a Gram matrix K. `'none'` takes K itself (what the paper's authors released),
            `'center'` HKH with H = I - 11'/N (Kornblith et al. 2019), `'debias'` the U-centred K, whose ratio equals
            that of the unbiased HSIC_1 estimates (Song et al. 2012, eq. 5).

    Returns:
        Similarity `(...,)` in float32, or float64 where an input has it: within [0, 1], for `'debias'` within [-1, 1].
        It does not depend on the scale of x or y. Where either Gram matrix is zero (a dead channel) the value is 0
        and the gradient exactly zero. Differentiable once, in both arguments.

    Raises:
        ValueError: The shapes do not match, `centering` is unknown, or N is below `MIN_SAMPLES[centering]`.
    """
    if centering not in CENTERINGS:
        raise ValueError(f"centering must be one of {CENTERINGS}, got {centering!r}")
    if x.dim() < 2 or x.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            "expected (..., N, D1) and (..., N, D2) with the same groups and samples, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if x.shape[-2] < MIN_SAMPLES[centering]:
        raise ValueError(
            f"centering={centering!r} needs at least {MIN_SAMPLES[centering]} samples, got {x.shape[-2]}: "
            "use smaller patches or another centering"
        )
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    groups, samples = x.shape[:-2], x.shape[-2]
    x = x.to(dtype).reshape(-1, samples, x.shape[-1])
    y = y.to(dtype).reshape(-1, samples, y.shape[-1])
    return _CKA.apply(x, y, centering).reshape(groups)


class _CKA(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, centering: str) -> Tensor:
        form = _SampleForm if _samples_are_cheaper(x, y) else _FeatureForm
        with torch.autocast(x.device.type, enabled=False):
            (x, x_scale), (y, y_scale) = _standardise(x, centering), _standardise(y, centering)
            form = form(x, y, centering)
            both = form.inverses[0] * form.inverses[1]
            value = form.cross * both
            terms = [
                form.gradient_terms(side, 2 * both, -2 * value * form.inverses[side].square())
                for side in (0, 1)
                if ctx.needs_input_grad[side]
            ]
        ctx.save_for_backward(x_scale, y_scale, *(tensor for side in terms for tensor in side))
        ctx.form, ctx.centering = type(form), centering
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        scales, terms = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        terms_per_side = len(terms) // max(sum(ctx.needs_input_grad[:2]), 1)
        grads = []
        with torch.autocast(grad.device.type, enabled=False):
            for wanted, scale in zip(ctx.needs_input_grad, scales, strict=False):
                if not wanted:
                    grads.append(None)
                    continue
                side, terms = terms[:terms_per_side], terms[terms_per_side:]
                grads.append(ctx.form.gradient(*side, centering=ctx.centering).mul_(_column(grad) * scale))
        return (*grads, None)


def _samples_are_cheaper(x: Tensor, y: Tensor) -> bool:
    """Multiply-adds of value and gradient in x: N x N form against D x D form."""
    samples, d1, d2 = x.shape[-2], x.shape[-1], y.shape[-1]
    return samples * (2 * d1 + d2) <= 2 * d1 * (d1 + d2) + d2 * d2


def _column(per_group: Tensor) -> Tensor:
    return per_group[:, None, None]


def _standardise(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
    """Bring every group to largest magnitude 1, its column means removed unless `centering` is 'none'.

    Without the means K~ keeps its value (they are in the null space of both projections) and loses no digits to them.

    Returns:
        The matrices `(G, N, D)` and what they were multiplied by, `(G, 1, 1)`: 0 for a group that is zero up to the
        rounding of the means.
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
    low, high = x.flatten(1).aminmax(dim=1)
    return _column(torch.maximum(high, -low))


def _inverse(norm_squared: Tensor, gram_norm_squared: Tensor) -> Tensor:
    """1 / |K~| by group; 0 where |K~| vanishes against |K|, so that a dead group adds neither value nor gradient."""
    dead = norm_squared <= 16 * torch.finfo(norm_squared.dtype).eps * gram_norm_squared
    return torch.where(dead, 0.0, norm_squared.rsqrt())


def _total(matrix: Tensor) -> Tensor:
    return matrix.sum((-2, -1))


class _SampleForm:
    """K~ and L~ as N x N matrices. Kept for backward: x and one N x N matrix."""

    def __init__(self, x: Tensor, y: Tensor, centering: str):
        self.matrices = (x, y)
        self.grams, self.inverses = zip(*(self._gram(z, centering) for z in (x, y)), strict=True)
        self.cross = _total(self.grams[0] * self.grams[1])

    @staticmethod
    def _gram(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
        gram = x @ x.mT
        whole = _total(gram * gram)
        if centering == "debias":
            n = gram.shape[-1]
            gram.diagonal(dim1=-2, dim2=-1).zero_()
            rows = gram.sum(-1, keepdim=True) / (n - 2)
            gram = gram - rows - rows.mT + rows.sum(-2, keepdim=True) / (n - 1)
            gram.diagonal(dim1=-2, dim2=-1).zero_()
        return gram, _inverse(_total(gram * gram), whole)

    def gradient_terms(self, side: int, other_weight: Tensor, own_weight: Tensor) -> tuple[Tensor, ...]:
        other, own = self.grams[1 - side], self.grams[side]
        return self.matrices[side], _column(other_weight) * other + _column(own_weight) * own

    @staticmethod
    def gradient(own: Tensor, matrix: Tensor, *, centering: str) -> Tensor:
        return matrix @ own


class _FeatureForm:
    """K~ and L~ through D x D products, for many samples of few features; no N x N matrix is ever made."""

    def __init__(self, x: Tensor, y: Tensor, centering: str):
        self.matrices, self.centering = (x, y), centering
        self.inverses = tuple(_inverse(*self._inner(z, z)) for z in (x, y))
        self.cross = self._inner(x, y)[0]

    def _inner(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """<K~, L~> and <K, L>."""
        product = x.mT @ y
        whole = _total(product * product)
        if self.centering != "debias":
            return whole, whole
        # xx' and yy' with the diagonals out; their row sums are minus the diagonals, as the column means are zero
        n = x.shape[-2]
        x_rows, y_rows = -x.square().sum(-1), -y.square().sum(-1)
        inner = whole - (x_rows * y_rows).sum(-1) * (1 + 2 / (n - 2))
        return inner + x_rows.sum(-1) * y_rows.sum(-1) / ((n - 1) * (n - 2)), whole

    def gradient_terms(self, side: int, other_weight: Tensor, own_weight: Tensor) -> tuple[Tensor, ...]:
        return self.matrices[side], self.matrices[1 - side], other_weight, own_weight

    @staticmethod
    def gradient(own: Tensor, other: Tensor, other_weight: Tensor, own_weight: Tensor, *, centering: str) -> Tensor:
        grad = torch.zeros_like(own)
        for side, weight in ((other, _column(other_weight)), (own, _column(own_weight))):
            grad = torch.baddbmm(grad, side, weight * (side.mT @ own))
            if centering == "debias":
                # the rest of the U-centred Gram matrix, times own: its diagonal, row and column terms, total
                n = own.shape[-2]
                rows = -side.square().sum(-1, keepdim=True)
                means = rows / (n - 2)
                shift = (means * own).sum(-2, keepdim=True)
                total = means.sum(-2, keepdim=True) / (n - 1)
                grad = grad + weight * ((rows + 2 * means - total) * own - shift)
        return grad
