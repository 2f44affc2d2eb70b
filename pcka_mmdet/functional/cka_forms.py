"""Value and gradient of CKA in closed form, from Gram matrices of samples or from products of features.

Shape shorthand: G groups, N samples (patches, for PCKA), D features; x is the student's matrix, y the teacher's.

With the Gram matrices K = xx' and L = yy' and K~, L~ their projections (see `pcka_mmdet.functional.cka`),

    CKA = <K~, L~> / (|K~| |L~|),    dCKA/dx = 2 (L~ / (|K~| |L~|) - CKA K~ / |K~|^2) x.

K~ is a linear projection of K, so one formula for the value and one for the gradient serve all three estimators. The
two forms give equal values, since |xx'| = |x'x| and <xx', yy'> = |x'y|^2. Which one costs less depends on N and D.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

MIN_SAMPLES = {"none": 2, "center": 3, "debias": 4}
"""Below this number of samples an estimator is constant or undefined."""

CENTERINGS = tuple(MIN_SAMPLES)


def check_samples(samples: int, centering: str) -> None:
    """Check the number of samples against the estimator.

    Raises:
        ValueError: `centering` is unknown, or there are fewer samples than `MIN_SAMPLES[centering]`.
    """
    if centering not in CENTERINGS:
        raise ValueError(f"centering must be one of {CENTERINGS}, got {centering!r}")
    if samples < MIN_SAMPLES[centering]:
        raise ValueError(
            f"centering={centering!r} needs at least {MIN_SAMPLES[centering]} samples, got {samples}: "
            "use another centering, or a patch size that gives more"
        )


def rescale(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
    """Scale every group to largest magnitude 1, after removing its column means unless `centering` is 'none'.

    Removing the means does not change K~ (both projections map them to zero) and improves precision.

    Returns:
        The matrices `(G, N, D)`, and their scales `(G, 1, 1)`: 0 for a group that is zero up to rounding.
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


def cheaper_form(samples: int, features: int, other_features: int) -> type["SampleForm"] | type["FeatureForm"]:
    """The form that needs fewer multiply-adds for the value and the gradient of the first matrix."""
    sizes = samples, features, other_features
    forms: tuple[type[SampleForm] | type[FeatureForm], ...] = SampleForm, FeatureForm
    return min(forms, key=lambda form: form.multiply_adds(*sizes))


def column(per_group: Tensor) -> Tensor:
    """Reshape one number per group `(G,)` to `(G, 1, 1)`."""
    return per_group[:, None, None]


def _largest(x: Tensor) -> Tensor:
    # not aminmax, which takes 20 times as long on a CPU
    return torch.maximum(x.amax((-2, -1), keepdim=True), -x.amin((-2, -1), keepdim=True))


def _inverse(norm_squared: Tensor, gram_norm_squared: Tensor) -> Tensor:
    """1 / |K~| of each group; 0 where |K~| is negligible against |K|: a dead group has no value and no gradient."""
    dead = norm_squared <= 16 * torch.finfo(norm_squared.dtype).eps * gram_norm_squared
    return torch.where(dead, 0.0, norm_squared.rsqrt())


def _total(matrix: Tensor) -> Tensor:
    return matrix.sum((-2, -1))


def value_and_gradients(x: Tensor, y: Tensor, centering: str, sides: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """CKA of two matrices by the cheaper form, and its gradients.

    Args:
        x: `(G, N, D1)`.
        y: `(G, N, D2)`.
        centering: See `pcka_mmdet.functional.cka`.
        sides: Which gradients: 0 for x, 1 for y.

    Returns:
        CKA `(G,)`, and for each of the sides the gradient, of the matrix's shape.
    """
    form = cheaper_form(x.shape[-2], x.shape[-1], y.shape[-1])
    (x, x_scale), (y, y_scale) = rescale(x, centering), rescale(y, centering)
    value, gradients = form.evaluate(x, y, centering, sides)
    scales = x_scale, y_scale
    return value, [gradient.mul_(scales[side]) for side, gradient in zip(sides, gradients, strict=True)]


class SampleForm:
    """K~ and L~ as N x N matrices."""

    @staticmethod
    def multiply_adds(samples: int, features: int, other_features: int) -> int:
        """Multiply-adds of value and gradient per group, proportional to N^2 D."""
        return samples**2 * (2 * features + other_features)

    @classmethod
    def evaluate(cls, x: Tensor, y: Tensor, centering: str, sides: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """See `value_and_gradients`; the matrices are rescaled."""
        (k, k_inverse), (el, el_inverse) = cls.gram(x, centering), cls.gram(y, centering)
        both = k_inverse * el_inverse
        value = _total(k * el) * both
        terms = (x, k, el, k_inverse), (y, el, k, el_inverse)
        gradients = [
            (column(2 * both) * other + column(-2 * value * inverse.square()) * own) @ matrix
            for matrix, own, other, inverse in (terms[side] for side in sides)
        ]
        return value, gradients

    @staticmethod
    def gram(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
        """K~ `(G, N, N)` and 1 / |K~| `(G,)`, 0 for a dead group."""
        gram = x @ x.mT
        whole = norm = _total(gram * gram)
        if centering == "debias":
            n = gram.shape[-1]
            gram.diagonal(dim1=-2, dim2=-1).zero_()
            rows = gram.sum(-1, keepdim=True) / (n - 2)
            gram = gram - rows - rows.mT + rows.sum(-2, keepdim=True) / (n - 1)
            gram.diagonal(dim1=-2, dim2=-1).zero_()
            norm = _total(gram * gram)
        return gram, _inverse(norm, whole)


class FeatureForm:
    """K~ and L~ through D x D products, for many samples of few features; no N x N matrix is formed."""

    @staticmethod
    def multiply_adds(samples: int, features: int, other_features: int) -> int:
        """Multiply-adds of value and gradient per group, proportional to N D^2."""
        return samples * (2 * features * (features + other_features) + other_features**2)

    @classmethod
    def evaluate(cls, x: Tensor, y: Tensor, centering: str, sides: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """See `value_and_gradients`; the matrices are rescaled."""
        xx, yy, xy = x.mT @ x, y.mT @ y, x.mT @ y
        inverses = [_inverse(*cls._inner(z, z, zz, centering)) for z, zz in ((x, xx), (y, yy))]
        both = inverses[0] * inverses[1]
        value = cls._inner(x, y, xy, centering)[0] * both
        terms = (x, xx, y, xy.mT, inverses[0]), (y, yy, x, xy, inverses[1])
        gradients = []
        for own, own_product, other, cross, inverse in (terms[side] for side in sides):
            towards, away = column(2 * both), column(-2 * value * inverse.square())
            gradient = torch.baddbmm(other @ (towards * cross), own, away * own_product)
            if centering == "debias":
                gradient = gradient + towards * cls._correction(other, own) + away * cls._correction(own, own)
            gradients.append(gradient)
        return value, gradients

    @staticmethod
    def _correction(matrix: Tensor, own: Tensor) -> Tensor:
        """What U-centring adds to a Gram matrix, times `own`: its diagonal, row and column terms, and total."""
        n = own.shape[-2]
        rows = -matrix.square().sum(-1, keepdim=True)
        means = rows / (n - 2)
        shift = (means * own).sum(-2, keepdim=True)
        total = means.sum(-2, keepdim=True) / (n - 1)
        return (rows + 2 * means - total) * own - shift

    @staticmethod
    def _inner(x: Tensor, y: Tensor, product: Tensor, centering: str) -> tuple[Tensor, Tensor]:
        """<K~, L~> and <K, L> from x'y."""
        whole = _total(product * product)
        if centering != "debias":
            return whole, whole
        # xx' and yy' with zero diagonals: their row sums are minus the diagonals, as the column means are zero
        n = x.shape[-2]
        x_rows, y_rows = -x.square().sum(-1), -y.square().sum(-1)
        inner = whole - (x_rows * y_rows).sum(-1) * (1 + 2 / (n - 2))
        return inner + x_rows.sum(-1) * y_rows.sum(-1) / ((n - 1) * (n - 2)), whole


def of_rows_and_columns(x: Tensor, y: Tensor, with_gradients: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Uncentred CKA of two matrices and of their transposes, which share products.

    |x'x| = |K|, and <x'x, y'y> = |M|^2 with M = xy'. So the CKA of columns is |M|^2 / (|K| |L|), and its gradient
    2 (M y / (|K| |L|) - CKA K x / |K|^2). All products are N x N, where N is the shorter side.

    Args:
        x: Rescaled matrices `(G, N, D)`.
        y: The same of the other side.
        with_gradients: Whether to compute the gradients.

    Returns:
        CKA `(G,)` of rows and of columns, and the gradient of each in x, `(G, N, D)`.
    """
    if x.shape[-2] > x.shape[-1]:
        values, gradients = of_rows_and_columns(x.mT, y.mT, with_gradients)
        return values[::-1], [gradient.mT for gradient in reversed(gradients)]
    (k, k_inverse), (el, el_inverse) = (SampleForm.gram(matrix, "none") for matrix in (x, y))
    m = x @ y.mT
    both = k_inverse * el_inverse
    values = [_total(k * el) * both, _total(m * m) * both]
    if not with_gradients:
        return values, []
    own = [column(-2 * value * k_inverse.square()) * k for value in values]
    rows = (column(2 * both) * el + own[0]) @ x
    columns = torch.baddbmm(own[1] @ x, column(2 * both) * m, y)
    return values, [rows, columns]
