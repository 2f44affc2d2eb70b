"""AP of one side of the page or of two, and the gain of the second, with intervals over samples of the test images.

A side is the trainings of one method, one for each seed. The baseline comes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pcka_mmdet.configuration.nested import without

from ..bootstrap import SIZES, Estimate, mean_over_classes, sample_images
from ..run import Run
from ..trials import Interval, paired_difference, unpaired_difference

OF_ONE_SEED = {
    *("checkpoint", "ckpt", "init_student", "load_from", "teacher_ckpt"),
    *("ann_file", "data_prefix", "data_root"),
    *("experiment_name", "randomness", "resume", "timestamp", "work_dir"),
}
"""Settings that may differ between the seeds of one training: weights, paths, names and the seed."""


@dataclass(frozen=True)
class Score:
    """AP of all objects, of a class or of a size."""

    name: str
    sides: list[Estimate]
    """By side, the mean over its seeds."""
    difference: Estimate | None
    """Second side minus first; `None` for a single side."""

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
    seeds: Interval | None
    """Difference over the seeds that both sides have, or else over all trainings; `None` for less than two."""
    images: int
    """Number of test images."""
    by_seed: bool
    """Whether the trainings of each side are one training with several seeds."""
    paired: bool
    """Whether `seeds` is of differences seed by seed."""


def score(sides: Sequence[Sequence[Run]]) -> Scores:
    """AP of one or two sides on the same test images, which are drawn with repetition; see `bootstrap`."""
    first = sides[-1][0].matches
    weights = sample_images(len(first.images))
    by_size = {
        size: [np.mean([run.matches.average_precision(weights, size) for run in side], axis=0) for side in sides]
        for size in SIZES
    }
    every = by_size["all"]
    classes = [_score(name, every, lambda by_class, i=i: by_class[:, i]) for i, name in enumerate(first.classes)]
    sizes = [_score(size, by_size[size], mean_over_classes) for size in SIZES[1:]]
    by_seed = all(map(_have_seeds, sides))
    values = [{run.seed: run.average_precision for run in side} for side in reversed(sides)]
    seeds = paired_difference(*values) if by_seed and len(sides) == 2 else None
    paired = seeds is not None
    if not paired and len(sides) == 2:
        seeds = unpaired_difference(*([run.average_precision for run in side] for side in reversed(sides)))
    return Scores(
        _score("all", every, mean_over_classes),
        [found for found in classes if np.isfinite(found.shown.value)],
        [found for found in sizes if np.isfinite(found.shown.value)],
        seeds,
        len(first.images),
        by_seed,
        paired,
    )


def with_partners(sides: Sequence[Sequence[Run]]) -> tuple[list[Sequence[Run]], list[int]]:
    """Two sides without the seeds that only one of them has, and these seeds. Sides that have no seed in common, or are
    not the seeds of one training each, are left as they are."""
    seeds = [{run.seed for run in side} for side in sides]
    common = set.intersection(*seeds)
    if len(sides) < 2 or not common or not all(map(_have_seeds, sides)):
        return list(sides), []
    return [[run for run in side if run.seed in common] for side in sides], sorted(set.union(*seeds) - common)


def are_unlike(runs: Sequence[Run]) -> bool:
    """Whether trainings differ in more than their seeds."""
    first, *others = [without(run.config.to_dict(), OF_ONE_SEED) for run in runs]
    return any(other != first for other in others)


def _have_seeds(runs: Sequence[Run]) -> bool:
    """Whether they are one training with several seeds. MMDetection's configs set none."""
    seeds = {run.seed for run in runs}
    return None not in seeds and len(seeds) == len(runs) and not are_unlike(runs)


def _score(name: str, sides: Sequence[np.ndarray], of: Callable[[np.ndarray], np.ndarray]) -> Score:
    values = [of(side) for side in sides]
    difference = [values[1] - values[0]] if len(values) == 2 else []
    found = [Estimate.of(value[0], value[1:]) for value in (*values, *difference)]
    return Score(name, found[: len(values)], found[-1] if difference else None)
