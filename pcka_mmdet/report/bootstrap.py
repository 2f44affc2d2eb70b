"""AP of samples of the images: what the intervals of an AP and of a gain are drawn from.

COCO's AP is no mean over images, so it is computed anew for each sample. The matches of detections and objects do not
depend on the sample; pycocotools finds them once. Shape shorthand: S samples, D detections, T IoU thresholds.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZES = ("all", "small", "medium", "large")
"""COCO's ranges of an object's area: below 32², below 96² pixels, larger."""

SAMPLES = 2000
"""Samples of the images; the ends of a 95 % interval then have an error of about 0.06 standard deviations."""

BLOCK = 1000
"""Samples that are computed at once; each takes 4 bytes an image."""


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
        self._recalls = evaluation.params.recThrs
        names = {number: name for name, number in ids.items()}
        kinds = [(names[number], size) for number in evaluation.params.catIds for size in SIZES]
        count = len(self.images)
        self._ranked = {
            kind: _Ranked.of(evaluation.evalImgs[i * count : (i + 1) * count]) for i, kind in enumerate(kinds)
        }

    def average_precision(self, weights: np.ndarray, size: str = "all") -> np.ndarray:
        """AP by class of samples of the images.

        Args:
            weights: How often each image is in each sample, `(S, images)`.
            size: One of `SIZES`.

        Returns:
            `(S, classes)`; NaN where a sample has no object of the class.
        """
        blocks = [weights[start : start + BLOCK] for start in range(0, len(weights), BLOCK)]
        return np.concatenate([self._of_block(block, size) for block in blocks])

    def _of_block(self, weights: np.ndarray, size: str) -> np.ndarray:
        drawn = np.ascontiguousarray(weights.T, dtype=np.float32)
        return np.stack([self._ranked[name, size].precision(drawn, self._recalls) for name in self.classes], axis=1)


@dataclass(frozen=True)
class _Ranked:
    """Detections of one class and size, by falling score. Those that COCO ignores at each threshold are left out."""

    image: np.ndarray
    """Index of the image, `(D,)`."""
    right: np.ndarray
    """Whether a detection matches an object, at each IoU threshold, `(T, D)`."""
    counted: np.ndarray
    """Whether it matches an object or none, and no ignored one, `(T, D)`."""
    objects: np.ndarray
    """Objects in each image."""

    @classmethod
    def of(cls, evaluations: Sequence[dict | None]) -> "_Ranked":
        """From pycocotools' evaluation of each image; `None` where it has neither object nor detection."""
        objects = np.array([0 if e is None else int((np.asarray(e["gtIgnore"]) == 0).sum()) for e in evaluations])
        found = [(i, e) for i, e in enumerate(evaluations) if e is not None and len(e["dtScores"])]
        if not found:
            none = np.zeros((1, 0), dtype=bool)
            return cls(np.zeros(0, dtype=int), none, none, objects)
        image = np.concatenate([np.full(len(e["dtScores"]), i) for i, e in found])
        order = np.argsort(-np.concatenate([e["dtScores"] for _, e in found]), kind="mergesort")
        matched = np.concatenate([e["dtMatches"] for _, e in found], axis=1)[:, order] > 0
        counted = ~np.concatenate([e["dtIgnore"] for _, e in found], axis=1)[:, order].astype(bool)
        kept = counted.any(0)
        return cls(image[order][kept], (matched & counted)[:, kept], counted[:, kept], objects)

    def precision(self, drawn: np.ndarray, recalls: np.ndarray) -> np.ndarray:
        """AP of each sample, as `COCOeval.accumulate` computes it: the mean over IoU and recall thresholds.

        At a recall threshold the precision is the best at that recall or a higher one. So the detections are taken
        away from the lowest score on: `best` is the best precision so far, and each object that is no longer found
        ends the recall thresholds that it had reached. A row of all samples is subtracted at once.

        Args:
            drawn: How often each image is in each sample, `(images, S)`.
            recalls: Recall thresholds, evenly spaced from 0 to 1.

        Returns:
            `(S,)`; NaN where a sample has no object.
        """
        objects = self.objects @ drawn.astype(np.float64)
        hits = np.stack([_sum(drawn, self.image[right]) for right in self.right])
        always = np.asarray(self.counted.all(0))
        seen = _sum(drawn, self.image[always])
        seen_at = np.stack([_sum(drawn, self.image[counted & ~always]) for counted in self.counted])
        best, total = np.zeros_like(hits), np.zeros(len(objects))
        reached = _reached(hits / np.maximum(objects, 1), recalls)
        any_right = np.asarray(self.right.any(0))
        for detection in reversed(range(len(self.image))):
            row = drawn[self.image[detection]]
            if any_right[detection]:
                at = np.flatnonzero(self.right[:, detection])
                best[at] = np.maximum(best[at], hits[at] / np.maximum(seen + seen_at[at], 1))
                hits[at] -= row
                left = _reached(hits[at] / np.maximum(objects, 1), recalls)
                total += (best[at] * (reached[at] - left)).sum(0)
                reached[at] = left
            if always[detection]:
                seen -= row
            else:
                seen_at[self.counted[:, detection]] -= row
        total += (best * reached).sum(0)  # a recall of 0 is reached without an object
        return np.where(objects > 0, total / (len(self.right) * len(recalls)), np.nan)


def _sum(drawn: np.ndarray, images: Iterable[int]) -> np.ndarray:
    """The sum of the rows of images, one at a time: a class of COCO has 100,000 detections."""
    total = np.zeros(drawn.shape[1], dtype=drawn.dtype)
    for image in images:
        total += drawn[image]
    return total


def _reached(recall: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """How many of the evenly spaced thresholds are at most `recall`, to the last digit as `numpy.searchsorted`."""
    nearest = np.rint((len(recalls) - 1) * recall).astype(np.intp)
    return nearest + (recalls.take(nearest) <= recall)


def sample_images(num_images: int, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image is in each sample, `(1 + samples, images)`; the first row is all images once."""
    generator = np.random.default_rng(seed)
    weights = np.ones((1 + samples, num_images), dtype=np.uint16)
    for row in weights[1:]:
        row[:] = np.bincount(generator.integers(num_images, size=num_images), minlength=num_images)
    return weights


def mean_over_classes(by_class: np.ndarray) -> np.ndarray:
    """COCO's AP from the classes' `(S, classes, ...)`: the mean of those that have objects; NaN if none has."""
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
