"""AP of samples of the images, and so intervals of an AP and of a gain: the bootstrap (Efron 1979).

COCO's AP is no mean over images, so it is computed anew for each sample. The matches of detections and objects do not
depend on the sample; pycocotools finds them once.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZES = ("all", "small", "medium", "large")
"""COCO's ranges of an object's area: below 32², below 96² pixels, larger."""

SAMPLES = 300
"""Samples of the images."""

BLOCK = 50
"""Samples that are computed at once: COCO has 100,000 detections of a class."""


@dataclass(frozen=True)
class Estimate:
    """A value on all images, with its 95 % interval over samples of them."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: np.ndarray) -> "Estimate":
        """From the values of the samples; those that have none (NaN) are left out."""
        kept = samples[np.isfinite(samples)]
        low, high = np.percentile(kept, [2.5, 97.5]) if len(kept) else (np.nan, np.nan)
        return cls(float(value), float(low), float(high))


class Matches:
    """Which detections match objects, of one detector on one data set.

    Args:
        annotations: COCO file.
        predictions: See `predictions.read_results`.
        classes: Class names, in the order of the predictions' labels.

    Raises:
        ValueError: The file lacks one of the classes.
    """

    def __init__(self, annotations: Path, predictions: Sequence[dict], classes: Sequence[str]):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(annotations))
            ids = {category["name"]: category["id"] for category in truth.dataset["categories"]}
            lacking = [name for name in classes if name not in ids]
            if lacking:
                raise ValueError(f"{str(annotations)!r} has no category {lacking}; it has {list(ids)}")
            categories = [ids[name] for name in classes]
            evaluation = COCOeval(truth, _detections(truth, predictions, categories), "bbox")
            evaluation.params.catIds = categories
            evaluation.evaluate()
        self.classes = list(classes)
        self.images: list[int | str] = np.asarray(evaluation.params.imgIds).tolist()
        """Ids of the images, in the order of the weights of `average_precision`."""
        self._thresholds = evaluation.params.recThrs
        names = {number: name for name, number in ids.items()}
        kinds = [(names[number], size) for number in evaluation.params.catIds for size in SIZES]
        count = len(self.images)
        self._of = {kind: _Sorted.of(evaluation.evalImgs[i * count : (i + 1) * count]) for i, kind in enumerate(kinds)}

    def average_precision(self, weights: np.ndarray, size: str = "all") -> np.ndarray:
        """AP by class of samples of the images.

        Args:
            weights: How often each image is in each sample, `(S, images)`.
            size: One of `SIZES`.

        Returns:
            `(S, classes)`; NaN where a sample has no object of the class.
        """
        return np.stack([self._of[name, size].precision(weights, self._thresholds) for name in self.classes], axis=1)


@dataclass(frozen=True)
class _Sorted:
    """Detections of one class and size, by falling score."""

    image: np.ndarray
    """Index of the image, `(D,)`."""
    right: np.ndarray
    wrong: np.ndarray
    """Whether a detection matches an object, or none, at each IoU threshold, `(T, D)`; neither if it is ignored."""
    objects: np.ndarray
    """Objects in each image."""

    @classmethod
    def of(cls, evaluations: Sequence[dict | None]) -> "_Sorted":
        """From pycocotools' evaluation of each image; `None` where it has neither object nor detection."""
        objects = np.array([0 if e is None else int((np.asarray(e["gtIgnore"]) == 0).sum()) for e in evaluations])
        found = [(i, e) for i, e in enumerate(evaluations) if e is not None and len(e["dtScores"])]
        if not found:
            none = np.zeros((1, 0), dtype=bool)
            return cls(np.zeros(0, dtype=int), none, none, objects)
        image = np.concatenate([np.full(len(e["dtScores"]), i) for i, e in found])
        order = np.argsort(-np.concatenate([e["dtScores"] for _, e in found]), kind="mergesort")
        matched = np.concatenate([e["dtMatches"] for _, e in found], axis=1)[:, order] > 0
        ignored = np.concatenate([e["dtIgnore"] for _, e in found], axis=1)[:, order].astype(bool)
        kept = ~ignored.all(0)  # most of them, for small, medium and large objects
        right, wrong = (kind[:, kept] for kind in (matched & ~ignored, ~matched & ~ignored))
        return cls(image[order][kept], right, wrong, objects)

    def precision(self, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """AP of each sample, as `COCOeval.accumulate` computes it: the mean over IoU and recall thresholds."""
        blocks = [weights[start : start + BLOCK] for start in range(0, len(weights), BLOCK)]
        return np.concatenate([self._precision(block, thresholds) for block in blocks])

    def _precision(self, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        objects = weights @ self.objects
        of_detections = weights[:, self.image]
        values = np.zeros(len(weights))
        for right, wrong in zip(self.right, self.wrong, strict=True):
            hits, misses = (np.cumsum(of_detections * kind, axis=1) for kind in (right, wrong))
            precision = hits / (hits + misses + np.spacing(1))
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recall = hits / np.maximum(objects, 1)[:, None]
            for sample, (reached, best) in enumerate(zip(recall, precision, strict=True)):
                places = np.searchsorted(reached, thresholds, side="left")
                values[sample] += np.append(best, 0.0)[places].mean()
        return np.where(objects > 0, values / len(self.right), np.nan)


def sample_images(num_images: int, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image is in each sample, `(1 + samples, images)`; the first row is all images once."""
    drawn = np.random.default_rng(seed).multinomial(num_images, np.full(num_images, 1 / num_images), samples)
    return np.concatenate([np.ones((1, num_images), dtype=int), drawn])


def mean_over_classes(by_class: np.ndarray) -> np.ndarray:
    """COCO's AP from the classes' `(S, classes)`: the mean of those that have objects; NaN if none has."""
    counts = np.isfinite(by_class).sum(1)
    return np.where(counts > 0, np.nansum(by_class, axis=1) / np.maximum(counts, 1), np.nan)


def _detections(truth: COCO, predictions: Sequence[dict], categories: Sequence[int]) -> COCO:
    results = []
    for prediction in predictions:
        found = prediction["pred_instances"]
        rows = zip(found["bboxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
        for (x1, y1, x2, y2), score, label in rows:
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append(dict(image_id=prediction["img_id"], category_id=categories[label], bbox=box, score=score))
    if results:
        return truth.loadRes(results)
    nothing = COCO()
    nothing.dataset = dict(images=truth.dataset["images"], categories=truth.dataset["categories"], annotations=[])
    nothing.createIndex()
    return nothing
