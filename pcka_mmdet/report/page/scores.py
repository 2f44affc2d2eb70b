"""AP of one side of the page or of two, and the gain of the second, with 95 % intervals over seeds and test images.

A side is the trainings of one method, one for each seed. Shape shorthand: S samples of the test images, n trainings.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from pcka_mmdet.configuration.distillation import is_distillation, write_out_sides
from pcka_mmdet.configuration.nested import without

from ..matches import SIZES, mean_over_classes
from ..run import Run

Sides = Mapping[str, Sequence[Run]]
"""Trainings by the name of their side, as it stands in a sentence; the baseline comes first."""

SAMPLES = 2000  # of the test images; the ends of an interval then have an error of about 0.06 standard deviations
ENDS = (0.025, 0.975)  # quantiles at the ends of an interval
SIGNED = "{:+.3f}"  # form of a difference
SEED_SETTINGS = {
    *("checkpoint", "ckpt", "init_student", "load_from", "teacher_ckpt"),
    *("ann_file", "data_prefix", "data_root"),
    *("experiment_name", "randomness", "resume", "timestamp", "work_dir"),
}
"""Settings that may differ between the seeds of one training: weights, paths, names and the seed."""


@dataclass(frozen=True)
class Estimate:
    """A value on all images, the mean over the seeds, with its 95 % interval."""

    value: float
    low: float
    high: float

    def written(self, form: str = "{:.3f}") -> list[str]:
        """The value and the interval, without the sign of -0.000."""
        value, low, high = (form.format(round(number, 3) + 0.0) for number in (self.value, self.low, self.high))
        return [value, f"{low} to {high}"]


@dataclass(frozen=True)
class Score:
    """AP of all objects, of a class or of a size."""

    name: str
    sides: list[Estimate]  # the mean over the seeds of each side
    difference: Estimate | None  # second side minus first; none for a single side

    @property
    def shown(self) -> Estimate:
        """The difference; of a single side its AP."""
        return self.difference or self.sides[0]


@dataclass(frozen=True)
class Scores:
    """All AP of the page."""

    whole: Score
    classes: list[Score]
    sizes: list[Score]
    teacher: Estimate | None
    images: int  # number of test images
    trainings: int  # of the side that has fewer; with one, an interval is over the test images only
    repeats: str  # "seeds" if each side is one training with several seeds, else "trainings"
    paired: bool  # whether both sides have the same seeds, so that differences are seed by seed

    @property
    def over(self) -> str:
        """What the interval of the difference, or of the single side, is over."""
        return "test images" if self.trainings == 1 else f"{self.repeats} and test images"


def score(sides: Sequence[Sequence[Run]], teacher: Run | None = None) -> Scores:
    """AP of one or two sides on the same test images, and of a teacher; see `estimate` for the intervals."""
    by_seed = all(map(_have_seeds, sides))
    paired = by_seed and len(sides) == 2 and {run.seed for run in sides[0]} == {run.seed for run in sides[1]}
    if paired:
        sides = [sorted(side, key=lambda run: run.seed or 0) for side in sides]
    first = sides[-1][0].matches
    weights = sample_images(len(first.images), SAMPLES)

    def precision(side: Sequence[Run], size: str) -> np.ndarray:
        return np.stack([run.matches.average_precision(weights, size) for run in side], axis=-1)

    def compare(name: str, values: Sequence[np.ndarray]) -> Score:
        difference = estimate(values, paired) if len(values) == 2 else None
        return Score(name, [estimate([side]) for side in values], difference)

    by_class = [precision(side, "all") for side in sides]
    classes = [compare(name, [values[:, i] for values in by_class]) for i, name in enumerate(first.classes)]
    sizes = [compare(size, [mean_over_classes(precision(side, size)) for side in sides]) for size in SIZES[1:]]
    return Scores(
        whole=compare("all", [mean_over_classes(values) for values in by_class]),
        classes=[one for one in classes if np.isfinite(one.shown.value)],
        sizes=[one for one in sizes if np.isfinite(one.shown.value)],
        teacher=estimate([mean_over_classes(precision([teacher], "all"))]) if teacher else None,
        images=len(first.images),
        trainings=min(map(len, sides)),
        repeats="seeds" if by_seed else "trainings",
        paired=paired,
    )


def sample_images(num_images: int, samples: int, seed: int = 0) -> np.ndarray:
    """How often each image is in each sample, `(1 + samples, images)`; the first row is all images once."""
    generator = np.random.default_rng(seed)
    weights = np.ones((1 + samples, num_images), dtype=np.uint16)
    for row in weights[1:]:
        row[:] = np.bincount(generator.integers(num_images, size=num_images), minlength=num_images)
    return weights


def with_partners(sides: Sides) -> tuple[Sides, list[int]]:
    """Two sides without the seeds that one of them lacks, and these seeds; unchanged without a common seed."""
    common = set.intersection(*({run.seed for run in runs} for runs in sides.values()))
    if len(sides) < 2 or not common or not all(map(_have_seeds, sides.values())):
        return sides, []
    unpaired = {run.seed for runs in sides.values() for run in runs if run.seed is not None} - common
    return {name: [run for run in runs if run.seed in common] for name, runs in sides.items()}, sorted(unpaired)


def are_unlike(runs: Sequence[Run]) -> bool:
    """Whether trainings differ in more than their seeds. Each seed may have its own teacher, of the same detector."""
    configs = [run.config.to_dict() for run in runs]
    if not _differ(configs):
        return False
    for config in filter(is_distillation, configs):
        with suppress(FileNotFoundError, ValueError):  # a config file of another machine
            write_out_sides(config["model"])
    return _differ(configs)


def _differ(configs: Sequence[dict]) -> bool:
    """Whether configs differ in more than `SEED_SETTINGS`."""
    settings = [without(config, SEED_SETTINGS) for config in configs]
    return any(one != settings[0] for one in settings)


def _have_seeds(runs: Sequence[Run]) -> bool:
    """Whether they are one training with several seeds. MMDetection's configs set none."""
    seeds = {run.seed for run in runs}
    return None not in seeds and len(seeds) == len(runs) and not are_unlike(runs)


def estimate(sides: Sequence[np.ndarray], paired: bool = False) -> Estimate:
    """The mean of one side over its seeds, or the second side's minus the first's, with a 95 % interval.

    `docs/report.md` has the formula and its sources. If a side has one training, no seeds are drawn on either side: the
    interval is over images. Its ends are NaN if no sample has a value.

    Args:
        sides: One or two arrays `(1 + S, n)`: the values of n trainings on all images, in the first row, and on S
            samples of the images, the same ones for all. A sample with a NaN is left out.
        paired: Whether both sides have the same seeds, in the same order. They are then drawn together.
    """
    if paired:
        sides = [sides[1] - sides[0]]
    several = min(side.shape[1] for side in sides) > 1
    generator = np.random.default_rng(0)
    value, samples, variances = 0.0, np.zeros(len(sides[0]) - 1), []
    for sign, side in zip([-1.0, 1.0][-len(sides) :], sides, strict=True):
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
