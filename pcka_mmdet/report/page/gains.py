"""The gain of distilled students over plain ones, with intervals over samples of the test images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..bootstrap import SIZES, Estimate, mean_over_classes, sample_images
from ..comparison import Interval, paired_difference
from .run import Run


@dataclass(frozen=True)
class Gain:
    """AP of plain and distilled students, the mean over their seeds, and the difference."""

    name: str
    plain: Estimate
    distilled: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Gains:
    """All comparisons of the page."""

    whole: Gain
    classes: list[Gain]
    sizes: list[Gain]
    seeds: Interval | None
    """Difference over the seeds that both have; `None` for less than two."""
    by_seed: bool = True
    """Whether trainings were paired by their seeds; else in the order in which they were given."""


def compare(plain: Sequence[Run], distilled: Sequence[Run]) -> Gains:
    """Compare two groups of runs on the same test images, which are drawn with repetition; see `bootstrap`.

    Raises:
        ValueError: The runs were tested on different images or classes.
    """
    first = distilled[0].matches
    for run in (*plain, *distilled):
        if (run.matches.images, run.matches.classes) != (first.images, first.classes):
            raise ValueError(
                f"{str(run.folder)!r} was tested on other images or classes than {str(distilled[0].folder)!r}: compare "
                "trainings on one data set"
            )
    weights = sample_images(len(first.images))
    by_size = {
        size: [_mean([run.matches.average_precision(weights, size) for run in runs]) for runs in (plain, distilled)]
        for size in SIZES
    }
    every, by_seed = by_size["all"], _have_seeds(plain) and _have_seeds(distilled)
    classes = [_gain(name, every, lambda by_class, i=i: by_class[:, i]) for i, name in enumerate(first.classes)]
    sizes = [_gain(size, by_size[size], mean_over_classes) for size in SIZES[1:]]
    return Gains(
        _gain("all", every, mean_over_classes),
        [gain for gain in classes if np.isfinite(gain.difference.value)],
        [gain for gain in sizes if np.isfinite(gain.difference.value)],
        paired_difference(*(_by_key(runs, by_seed) for runs in (distilled, plain))),
        by_seed,
    )


def _by_key(runs: Sequence[Run], by_seed: bool) -> dict[int, float]:
    """AP by seed, or by position."""
    return {run.seed if by_seed else place: run.average_precision for place, run in enumerate(runs)}


def _have_seeds(runs: Sequence[Run]) -> bool:
    """Whether all have a seed, each another one. MMDetection's configs set none."""
    seeds = {run.seed for run in runs}
    return None not in seeds and len(seeds) == len(runs)


def _mean(values: list[np.ndarray]) -> np.ndarray:
    return np.mean(values, axis=0)


def _gain(name: str, sides: Sequence[np.ndarray], of: Callable[[np.ndarray], np.ndarray]) -> Gain:
    plain, distilled = (of(side) for side in sides)
    return Gain(name, *(Estimate.of(v[0], v[1:]) for v in (plain, distilled, distilled - plain)))
