"""AP of one side of the page or of two, and the gain of the second, with intervals over seeds and test images.

A side is the trainings of one method, one for each seed. The baseline comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcka_mmdet.configuration.nested import without

from ..bootstrap import SIZES, mean_over_classes, sample_images
from ..estimate import Estimate, estimate
from ..run import Run

SEED_SETTINGS = {
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
    teacher: Estimate | None
    """AP of the teacher, if there is its training."""
    images: int
    """Number of test images."""
    trainings: int
    """Trainings of the side that has fewer. Of one, an interval is over the images alone."""
    by_seed: bool
    """Whether the trainings of each side are one training with several seeds."""
    paired: bool
    """Whether both sides have the same seeds, so that differences are seed by seed."""

    @property
    def over(self) -> str:
        """What the interval of the difference, or of the single side, is over."""
        if self.trainings == 1:
            return "test images"
        return f"{'seeds' if self.by_seed else 'trainings'} and test images"


def score(sides: Sequence[Sequence[Run]], teacher: Run | None = None) -> Scores:
    """AP of one or two sides on the same test images, and of a teacher; see `estimate` for the intervals."""
    by_seed = all(map(_have_seeds, sides))
    paired = by_seed and len(sides) == 2 and {run.seed for run in sides[0]} == {run.seed for run in sides[1]}
    if paired:
        sides = [sorted(side, key=lambda run: run.seed or 0) for side in sides]
    first = sides[-1][0].matches
    weights = sample_images(len(first.images))
    by_class = {
        size: [np.stack([run.matches.average_precision(weights, size) for run in side], axis=-1) for side in sides]
        for size in SIZES
    }
    mean = {size: [mean_over_classes(side) for side in found] for size, found in by_class.items()}
    classes = [
        _score(name, [side[:, index] for side in by_class["all"]], paired) for index, name in enumerate(first.classes)
    ]
    sizes = [_score(size, mean[size], paired) for size in SIZES[1:]]
    return Scores(
        whole=_score("all", mean["all"], paired),
        classes=[found for found in classes if np.isfinite(found.shown.value)],
        sizes=[found for found in sizes if np.isfinite(found.shown.value)],
        teacher=teacher and estimate([mean_over_classes(teacher.matches.average_precision(weights))[:, None]]),
        images=len(first.images),
        trainings=min(map(len, sides)),
        by_seed=by_seed,
        paired=paired,
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
    first, *others = [without(run.config.to_dict(), SEED_SETTINGS) for run in runs]
    return any(other != first for other in others)


def _have_seeds(runs: Sequence[Run]) -> bool:
    """Whether they are one training with several seeds. MMDetection's configs set none."""
    seeds = {run.seed for run in runs}
    return None not in seeds and len(seeds) == len(runs) and not are_unlike(runs)


def _score(name: str, sides: Sequence[np.ndarray], paired: bool) -> Score:
    """From the values of each side, `(1 + samples, trainings)`."""
    difference = estimate(sides, paired) if len(sides) == 2 else None
    return Score(name, [estimate([side]) for side in sides], difference)
