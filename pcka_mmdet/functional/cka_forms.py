"""CKA and its gradient in closed form, from Gram matrices of samples or from products of features.

Shape shorthand: G groups, N samples (patches, for PCKA), D features; x is the student's matrix, y the teacher's.

With the Gram matrices K = xx' and L = yy' and K~, L~ their projections (see `pcka_mmdet.functional.cka`),

    CKA = <K~, L~> / (|K~| |L~|),    dCKA/dx = 2 (L~ / (|K~| |L~|) - CKA K~ / |K~|^2) x.

Both forms give equal values, since |xx'| = |x'x| and <xx', yy'> = |x'y|^2. N and D decide which one costs less.
"""

import torch
from torch import Tensor

MIN_SAMPLES = {"none": 2, "center": 3, "debias": 4}
"""Below this number of samples an estimator is constant or undefined."""

CENTERINGS = tuple(MIN_SAMPLES)


def check_samples(samples: int, centering: str) -> None:
    """Raise ValueError where `centering` is unknown, or needs more samples."""
    if centering not in CENTERINGS:
        raise ValueError(f"centering must be one of {CENTERINGS}, got {centering!r}")
    if samples < MIN_SAMPLES[centering]:
        raise ValueError(
            f"centering={centering!r} needs at least {MIN_SAMPLES[centering]} samples, got {samples}: "
            "use another centering, or a patch size that gives more"
        )


def rescale(x: Tensor, centering: str) -> tuple[Tensor, Tensor]:
    """Remove column means unless `centering` is 'none', then scale every group to a largest magnitude of 1.

    Both projections map the means to zero: removing them first improves precision.

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


def _largest(x: Tensor) -> Tensor:
    # not aminmax, which takes 20 times as long on a CPU
    return torch.maximum(x.amax((-2, -1), keepdim=True), -x.amin((-2, -1), keepdim=True))


def column(per_group: Tensor) -> Tensor:
    """Reshape one number per group `(G,)` to `(G, 1, 1)`."""
    return per_group[:, None, None]


def _total(matrix: Tensor) -> Tensor:
    return matrix.sum((-2, -1))


def _inverse(norm_squared: Tensor, gram_norm_squared: Tensor) -> Tensor:
    """1 / |K~| of each group; 0 where |K~| is negligible against |K|: a dead group has no value and no gradient."""
    dead = norm_squared <= 16 * torch.finfo(norm_squared.dtype).eps * gram_norm_squared
    return torch.where(dead, 0.0, norm_squared.rsqrt())


def value_and_gradient(
    x: Tensor, y: Tensor, centering: str, wants_gradient: bool = True
) -> tuple[Tensor, Tensor | None]:
    """CKA `(G,)` of `(G, N, D1)` and `(G, N, D2)` by the cheaper form, and its gradient in x if that is wanted."""
    check_samples(x.shape[-2], centering)
    form = cheaper_form(x.shape[-2], x.shape[-1], y.shape[-1])
    (x, scale), (y, _) = rescale(x, centering), rescale(y, centering)
    value, gradient = form.evaluate(x, y, centering, wants_gradient)
    return value, None if gradient is None else gradient.mul_(scale)


def cheaper_form(samples: int, features: int, teacher_features: int) -> type["SampleForm"] | type["FeatureForm"]:
    """The form that needs fewer multiply-adds for the value and the gradient of the student's matrix."""
    sizes = samples, features, teacher_features
    return SampleForm if SampleForm.multiply_adds(*sizes) <= FeatureForm.multiply_adds(*sizes) else FeatureForm


class SampleForm:
    """K~ and L~ as N x N matrices."""

    @staticmethod
    def multiply_adds(samples: int, features: int, teacher_features: int) -> int:
        """Multiply-adds of value and gradient per group, proportional to N^2 D."""
        return samples**2 * (2 * features + teacher_features)

    @classmethod
    def evaluate(cls, x: Tensor, y: Tensor, centering: str, wants_gradient: bool) -> tuple[Tensor, Tensor | None]:
        """See `value_and_gradient`; the matrices are rescaled."""
        (k, k_inverse), (el, el_inverse) = cls.gram(x, centering), cls.gram(y, centering)
        both = k_inverse * el_inverse
        value = _total(k * el) * both
        if not wants_gradient:
            return value, None
        return value, (column(2 * both) * el + column(-2 * value * k_inverse.square()) * k) @ x

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
    def multiply_adds(samples: int, features: int, teacher_features: int) -> int:
        """Multiply-adds of value and gradient per group, proportional to N D^2."""
        return samples * (2 * features * (features + teacher_features) + teacher_features**2)

    @classmethod
    def evaluate(cls, x: Tensor, y: Tensor, centering: str, wants_gradient: bool) -> tuple[Tensor, Tensor | None]:
        """See `value_and_gradient`; the matrices are rescaled."""
        xx, yy, xy = x.mT @ x, y.mT @ y, x.mT @ y
        x_inverse, y_inverse = (_inverse(*cls._inner(z, z, zz, centering)) for z, zz in ((x, xx), (y, yy)))
        both = x_inverse * y_inverse
        value = cls._inner(x, y, xy, centering)[0] * both
        if not wants_gradient:
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
        whole = _total(product * product)
        if centering != "debias":
            return whole, whole
        # xx' and yy' with zero diagonals: their row sums are minus the diagonals, as the column means are zero
        n = x.shape[-2]
        x_rows, y_rows = -x.square().sum(-1), -y.square().sum(-1)
        inner = whole - (x_rows * y_rows).sum(-1) * (1 + 2 / (n - 2))
        return inner + x_rows.sum(-1) * y_rows.sum(-1) / ((n - 1) * (n - 2)), whole


def rows_and_columns(x: Tensor, y: Tensor, with_gradients: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Uncentred CKA of two rescaled matrices `(G, N, D)` and of their transposes, which share products.

    |x'x| = |K|, and <x'x, y'y> = |M|^2 with M = xy'. So the CKA of columns is |M|^2 / (|K| |L|), and its gradient
    2 (M y / (|K| |L|) - CKA K x / |K|^2). All products are N x N, where N is the shorter side.

    Returns:
        CKA `(G,)` of rows and of columns, and the gradient of each in x.
    """
    if x.shape[-2] > x.shape[-1]:
        values, gradients = rows_and_columns(x.mT, y.mT, with_gradients)
        return values[::-1], [gradient.mT for gradient in reversed(gradients)]
    (k, k_inverse), (el, el_inverse) = (SampleForm.gram(matrix, "none") for matrix in (x, y))
    m = x @ y.mT
    both = k_inverse * el_inverse
    values = [_total(k * el) * both, _total(m * m) * both]
    if not with_gradients:
        return values, []
    away = [column(-2 * value * k_inverse.square()) * k for value in values]
    rows = (column(2 * both) * el + away[0]) @ x
    columns = torch.baddbmm(away[1] @ x, column(2 * both) * m, y)
    return values, [rows, columns]
