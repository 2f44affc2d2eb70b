"""AP on test with 95 % intervals over seeds and images, from kept detections, by the resampling of the report."""

import gzip
import tempfile
from pathlib import Path

import numpy as np
from mmengine.config import Config

from pcka_mmdet.report.matches import Matches, mean_over_classes
from pcka_mmdet.report.page.scores import SAMPLES, Estimate, estimate, sample_images
from pcka_mmdet.report.run import coco_evaluator

from .results import Results, Trial

Numbers = tuple[float, float, float]
"""A value, and the ends of its interval."""

BySeed = dict[int, np.ndarray]
"""AP `(1 + S)` on samples of the images, by seed; the first is on all images."""


class Samples:
    """AP of trainings on samples of the test images of a pair, `(1 + S)` each; the first is on all images.

    Args:
        results: Rows and detections.
        samples: S.
    """

    def __init__(self, results: Results, samples: int = SAMPLES):
        self.results, self.samples = results, samples
        self._weights = np.empty((0, 0))

    def of(self, trial: Trial, config: Config) -> np.ndarray:
        """AP of one training; the config has the test images."""
        annotations = Path(coco_evaluator(config)[1]["ann_file"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "detections.json")
            file.write_bytes(gzip.decompress(self.results.detections(trial).read_bytes()))
            matches = Matches(annotations, file, config.test_dataloader.dataset.metainfo.classes)
        if self._weights.shape[1] != len(matches.images):
            self._weights = sample_images(len(matches.images), self.samples)
        return mean_over_classes(matches.average_precision(self._weights))

    @property
    def images(self) -> int:
        """Number of test images of the last training."""
        return self._weights.shape[1]


def mean(aps: BySeed) -> Numbers:
    """Mean over the seeds."""
    return _numbers(estimate([_side(aps, aps)]))


def difference(first: BySeed, second: BySeed) -> Numbers:
    """Second minus first, seed by seed."""
    return _numbers(estimate([_side(first, second), _side(second, first)], paired=True))


def written(numbers: Numbers) -> str:
    """A difference with its interval."""
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*numbers)


def _side(aps: BySeed, other: BySeed) -> np.ndarray:
    """APs `(1 + S, n)` of the n seeds that both have."""
    return np.stack([aps[seed] for seed in sorted(aps.keys() & other.keys())], axis=1)


def _numbers(found: Estimate) -> Numbers:
    return found.value, found.low, found.high
