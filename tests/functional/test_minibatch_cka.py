"""CKA over batches, against the definition of HSIC_1 in float64 and against `cka` of one batch."""

import pytest
import torch

from pcka_mmdet.functional import cka
from pcka_mmdet.functional.cka import MinibatchCKA
from tests.functional.test_cka import hsic_1


def samples(n, features, seed):
    return torch.randn(n, features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_hsic(x, y):
    return hsic_1(x @ x.T, y @ y.T) / (len(x) * (len(x) - 3))


def test_the_estimates_of_the_batches_are_summed():
    total, sums = MinibatchCKA((1, 2)), torch.zeros(3, dtype=torch.float64)
    for seed, n in enumerate((10, 7, 12)):
        x, noise = samples(n, 5, seed), samples(n, 3, 100 + seed)
        y = x[:, :3] + 0.5 * noise + 7
        total.update((0, 1), x, y)
        sums += torch.stack([naive_hsic(x, y), naive_hsic(x, x), naive_hsic(y, y)])
    torch.testing.assert_close(total.sums[:, 0, 1], sums, rtol=1e-5, atol=0)  # of float32
    assert total.values()[0, 1].item() == pytest.approx((sums[0] / (sums[1] * sums[2]).sqrt()).item(), rel=1e-5)
    assert total.values()[0, 0].isnan()


def test_one_batch_is_debiased_cka():
    x, y, total = samples(9, 4, 0), samples(9, 6, 1), MinibatchCKA((1, 1))
    total.update((0, 0), x, y)
    torch.testing.assert_close(total.values()[0, 0], cka(x, y, "debias"), rtol=0, atol=1e-6)


def test_a_batch_that_is_too_small_counts_nothing():
    total = MinibatchCKA((1, 1))
    total.update((0, 0), samples(3, 4, 0), samples(3, 4, 1))
    assert not total.sums.any()
