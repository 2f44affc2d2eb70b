"""An AP, or the gain of one side over another, with its 95 % interval: the bootstrap over seeds and images together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

ENDS = (0.025, 0.975)
"""Quantiles at the ends of an interval."""


@dataclass(frozen=True)
class Estimate:
    """A value on all images, the mean over the seeds, with its 95 % interval."""

    value: float
    low: float
    high: float


def estimate(sides: Sequence[np.ndarray], paired: bool = False, seed: int = 0) -> Estimate:
    """The mean of one side over its seeds, or the second side's less the first's, with a 95 % interval.

    Each sample b draws images, and at the same time seeds, both with repetition (the pigeonhole bootstrap, Owen 2007).
    With weights `v` of the n seeds of a side,

        D_b = sum_s v_bs AP_s(images of b), of the second side less the first,
        interval = D + k (quantiles 2.5 % and 97.5 % of D_b - D).

    Of n seeds n - 1 are drawn, so that the variance of the drawn mean is s²/n without bias (McCarthy and Snowden 1985).
    The s² of few seeds is uncertain, so k takes the quantile of Student's t in place of the normal z for their part of
    the variance V of D_b, and the squares of both parts' widths add (Zou and Donner 2008):

        k² = (z² (V - V_s) + t(df)² V_s) / (z² V),
        V_s = sum_i V_i, V_i = s_i² / n_i, df = V_s² / sum_i V_i² / (n_i - 1)     (Welch 1947)

    with i over the sides, or over one side of differences where the seeds are paired. With enough images, or none that
    vary, this is the interval of a t-test over seeds; with seeds that agree, that of the bootstrap over images.

    A side of one training is not drawn, nor is then the other side's: the interval is over images.

    Args:
        sides: One or two arrays `(1 + S, n)`: the values of n trainings on all images, in the first row, and on S
            samples of the images, the same ones for all. A sample with a NaN is left out.
        paired: Whether both sides have the same seeds, in the same order. They are then drawn together.
        seed: Of the draws of seeds.

    Returns:
        The estimate; its ends are NaN if no sample has a value.
    """
    if paired:
        sides = [sides[1] - sides[0]]
    signs = [1.0] if len(sides) == 1 else [-1.0, 1.0]
    several = min(side.shape[1] for side in sides) > 1
    generator = np.random.default_rng(seed)
    value, samples, variances = 0.0, np.zeros(len(sides[0]) - 1), []
    for sign, side in zip(signs, sides, strict=True):
        count = side.shape[1]
        weights = np.full((len(samples), count), 1 / count)
        if several:
            weights = generator.multinomial(count - 1, weights[0], len(samples)) / (count - 1)
            variances.append((np.var(side[0], ddof=1) / count, count - 1))
        value += sign * side[0].mean()
        samples += sign * (weights * side[1:]).sum(1)
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return Estimate(float(value), np.nan, np.nan)
    low, high = value + _stretch(samples.var(), variances) * (np.quantile(samples, ENDS) - value)
    return Estimate(float(value), float(low), float(high))


def _stretch(variance: float, parts: Sequence[tuple[float, int]]) -> float:
    """`k` of `estimate`: from the variance of the samples, and of each side's seeds with its degrees of freedom."""
    of_seeds = sum(part for part, _ in parts)
    if not of_seeds:
        return 1.0
    freedom = of_seeds**2 / sum(part**2 / freedom for part, freedom in parts)
    share = min(1.0, of_seeds / variance) if variance else 1.0
    return math.sqrt(1 - share + share * (student_t.ppf(ENDS[1], freedom) / norm.ppf(ENDS[1])) ** 2)
