"""MMD against formulas written out in float64 loops, its gradient, and the paper's Theorem 2."""

import math
import statistics

import pytest
import torch

from pcka_mmdet.functional import cka, mmd
from pcka_mmdet.functional.mmd import KERNELS


def pair(*shape, second_shape=None, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=dtype) + 0.5
    y = torch.randn(*(second_shape or shape), generator=generator, dtype=dtype)
    return x, y


def unit_gram(x):
    n = len(x)
    gram = torch.tensor([[float(torch.dot(x[i], x[j])) for j in range(n)] for i in range(n)], dtype=torch.float64)
    return gram / math.sqrt(sum(float(k) ** 2 for k in gram.flatten()))


def naive_mmd(x, y, kernel):
    """One group, from the definition."""
    n = len(x)
    if kernel == "linear":
        return (sum(unit_gram(x).flatten()) / n**2 - sum(unit_gram(y).flatten()) / n**2) ** 2
    rows = [*x, *y]
    squares = [float((rows[i] - rows[j]).square().sum()) for i in range(2 * n) for j in range(i)]
    middle = statistics.median_low(squares)
    k = [[math.exp(-float((a - b).square().sum()) / (2 * middle)) for b in rows] for a in rows]
    within = sum(k[i][j] + k[n + i][n + j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return torch.tensor(within - 2 * sum(k[i][n + j] for i in range(n) for j in range(n)) / n**2, dtype=torch.float64)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(2, 3), (5, 9), (12, 3)], ids=str)
def test_equals_the_naive_definition(kernel, shape):
    x, y = pair(3, *shape, second_shape=(3, shape[0], 4 if kernel == "linear" else shape[1]))
    expected = torch.stack([naive_mmd(a, b, kernel) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(mmd(x, y, kernel), expected, rtol=1e-9, atol=1e-15)
    scale = 1 / shape[0] ** 2 if kernel == "linear" else 1.0
    torch.testing.assert_close(mmd(x.float(), y.float(), kernel), expected.float(), rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("samples", [3, 8])
def test_gradient_in_both_arguments(kernel, samples):
    x, y = (side.requires_grad_() for side in pair(2, samples, 5))
    if kernel == "linear":
        assert torch.autograd.gradcheck(lambda a, b: mmd(a, b), (x, y))
        return
    # the bandwidth is a constant: compared with the formula at a fixed one
    values = torch.cat([x, y], 1).detach()
    middle = torch.stack([torch.pdist(rows).square().median() for rows in values])[:, None, None]

    def fixed(a, b):
        kernels = [
            torch.exp(-(p[:, :, None] - q[:, None]).square().sum(-1) / (2 * middle)) for p in (a, b) for q in (a, b)
        ]
        aa, ab, _, bb = kernels
        off = ~torch.eye(samples, dtype=torch.bool)
        return aa[:, off].mean(-1) + bb[:, off].mean(-1) - 2 * ab.mean((-2, -1))

    actual = torch.autograd.grad(mmd(x, y, kernel).sum(), (x, y))
    torch.testing.assert_close(actual, torch.autograd.grad(fixed(x, y).sum(), (x, y)))


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_it_does_not_depend_on(kernel):
    x, y = pair(2, 6, 4)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    turned = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))[0]
    value = mmd(x, y, kernel)
    torch.testing.assert_close(mmd(x[:, order], y[:, order], kernel), value)
    torch.testing.assert_close(mmd(x @ turned, y @ turned, kernel), value)
    for scale in (1e-15, 1e15):
        torch.testing.assert_close(
            mmd(scale * x.float(), scale * y.float(), kernel), value.float(), rtol=1e-3, atol=1e-6
        )
    torch.testing.assert_close(mmd(y, x, kernel), value)
    assert mmd(x, x, "linear").abs().max() == 0


def test_distances_do_not_depend_on_a_common_offset():
    """In float32, where squares of 1000 leave out the digits of the distances."""
    x, y = pair(2, 6, 4)
    actual = mmd((x + 1000).float(), (y + 1000).float(), "rbf")
    torch.testing.assert_close(actual, mmd(x, y, "rbf").float(), rtol=1e-3, atol=1e-3)


def test_theorem_2():
    """The mean squared difference of unit Gram matrices is 2 (1 - CKA) / N^2, and bounds the MMD term from above."""
    for seed, (samples, features) in enumerate([(4, 2), (6, 30), (20, 5)]):
        x, y = pair(samples, features, seed=seed)
        k, el = unit_gram(x), unit_gram(y)
        difference = (k - el).square().mean()
        similarity = cka(x, y, "none")
        torch.testing.assert_close(difference, 2 * (1 - similarity) / samples**2)
        assert 0 < mmd(x, y) <= difference
        # the constants that are printed in the paper's theorem give another value
        assert not torch.isclose(difference, -samples * similarity + 2, rtol=1e-2)


@pytest.mark.parametrize("kernel", KERNELS)
def test_constant_and_dead_groups(kernel):
    x, y = pair(2, 5, 3)
    x[0], y[0] = 0.0, 1.0
    x.requires_grad_()
    value = mmd(x, y, kernel)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.isfinite().all() and gradient.isfinite().all() and gradient[1].any()
    if kernel == "linear":
        assert not gradient[0].any() and value[0].item() == pytest.approx((1 / 5) ** 2)


def test_half_precision_and_autocast():
    x, y = pair(2, 5, 3, dtype=torch.float32)
    assert mmd(x.half(), y.half()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(mmd(x, y, "rbf"), mmd(x.double(), y.double(), "rbf").float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shapes, kernel, message",
    [
        (((4, 3), (5, 3)), "linear", r"expected \(..., N, D1\) and \(..., N, D2\), got \(4, 3\) and \(5, 3\)"),
        (((4, 3), (4, 2)), "rbf", r"expected \(..., N, D\) twice"),
        (((1, 3), (1, 3)), "linear", "mmd needs at least 2 samples, got 1"),
        (((4, 3), (4, 3)), "cubic", r"kernel must be one of \('linear', 'rbf'\), got 'cubic'"),
    ],
)
def test_bad_input(shapes, kernel, message):
    with pytest.raises(ValueError, match=message):
        mmd(*(torch.ones(shape) for shape in shapes), kernel)
