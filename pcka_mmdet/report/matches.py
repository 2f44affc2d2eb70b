"""Which detections match annotated objects, by pycocotools; and the AP of samples of the test images.

COCO's AP is no mean over images, so it is computed for each sample; the matches are the same for all. Shape shorthand:
S samples, D detections, T IoU thresholds. Boxes are `(x, y, width, height)` in pixels of the original image.
"""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.sparse import csr_matrix

SIZES = ("all", "small", "medium", "large")  # COCO's ranges of an object's area: below 32², below 96² pixels, larger
RECALLS = np.linspace(0, 1, 101)  # COCO's recall thresholds
BLOCK = 250  # samples computed at once; each takes 4 bytes an image, and some 40 bytes a matched detection of a class


@dataclass(frozen=True)
class Box:
    """An annotated object or a detection."""

    bbox: list[float]
    label: int
    score: float | None = None  # of a detection
    correct: bool = True  # whether a detection matches an object of its class, at an IoU of 0.5


@dataclass(frozen=True)
class _Ranked:
    """Detections of one class and size by falling score, without those that COCO ignores at each threshold."""

    image: np.ndarray  # index of the image, (D,)
    bbox: np.ndarray  # (D, 4)
    score: np.ndarray  # (D,)
    matched: np.ndarray  # whether a detection matches an object, (T, D)
    counted: np.ndarray  # whether it does not match an ignored object, such as a crowd, (T, D)
    objects: np.ndarray  # number of objects in each image

    def precision(self, drawn: np.ndarray) -> np.ndarray:
        """AP of each sample, `(S,)`, as `COCOeval.accumulate` computes it; NaN where a sample has no object.

        It is the mean over IoU and recall thresholds. At a recall threshold the precision is the best at this recall or
        a higher one. A detection without an object lowers it, so only those of matched detections are computed.

        Args:
            drawn: How often each image is in each sample, `(images, S)`.
        """
        objects, total = self.objects @ drawn.astype(np.float64), np.zeros(drawn.shape[1])
        for matched, counted in zip(self.matched, self.counted, strict=True):
            image, hit = self.image[counted], matched[counted]
            hits_before = hit.cumsum() - hit
            cells = (np.ones(len(hit), dtype=drawn.dtype), (hits_before, image))
            groups = csr_matrix(cells, shape=(hit.sum() + 1, len(drawn)))
            seen = (groups @ drawn)[:-1].cumsum(0)
            hits = drawn[image[hit]].cumsum(0)
            best = np.maximum.accumulate((hits / np.maximum(seen, 1))[::-1])[::-1]
            reached = np.searchsorted(RECALLS, hits / np.maximum(objects, 1), side="right")
            total += (best * np.diff(reached, axis=0, prepend=0)).sum(0)
        return np.where(objects > 0, total / (len(self.matched) * len(RECALLS)), np.nan)


class Matches:
    """The objects of a test set and the detections of one detector, matched.

    Args:
        annotations: File in COCO's format.
        results: File of the detections in COCO's format.
        classes: Class names, in the order of the labels.

    Raises:
        ValueError: The annotations lack a class.
    """

    def __init__(self, annotations: Path, results: Path, classes: Sequence[str]):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(annotations))
            ids = {category["name"]: category["id"] for category in truth.dataset["categories"]}
            if lacking := [name for name in classes if name not in ids]:
                raise ValueError(f"{str(annotations)!r} has no category {lacking}; it has {list(ids)}")
            detections = _read_results(truth, results)
            evaluation = COCOeval(truth, detections, "bbox")
            evaluation.params.catIds = [ids[name] for name in classes]
            evaluation.evaluate()
        self.classes = list(classes)
        self.images: list[int | str] = np.asarray(evaluation.params.imgIds).tolist()
        """Ids of the images, in the order of the weights of `average_precision`."""
        self.file_names = {image: truth.imgs[image]["file_name"] for image in self.images}
        labels = {ids[name]: label for label, name in enumerate(classes)}
        self.objects: dict[int | str, list[Box]] = {image: [] for image in self.images}
        """Annotated objects by image; a crowd is none."""
        for image, boxes in self.objects.items():
            for entry in truth.imgToAnns[image]:
                if entry["category_id"] in labels and not entry.get("iscrowd"):
                    boxes.append(Box(entry["bbox"], labels[entry["category_id"]]))
        self._ranked: dict[tuple[int, str], _Ranked] = {}
        evaluations = iter(evaluation.evalImgs)
        for category, size in product(evaluation.params.catIds, SIZES):
            of_images = list(islice(evaluations, len(self.images)))
            self._ranked[labels[category], size] = _rank(of_images, detections)

    def detections(self, threshold: float) -> dict[int | str, list[Box]]:
        """Detections with a score of at least `threshold` by image, best first.

        As in COCO's AP, a detection is left out if it matches a crowd, which has at least half of its area.
        """
        boxes: dict[int | str, list[Box]] = {image: [] for image in self.images}
        for label in range(len(self.classes)):
            ranked = self._ranked[label, "all"]
            for i in np.flatnonzero(ranked.counted[0] & (ranked.score >= threshold)):
                box = Box(ranked.bbox[i].tolist(), label, float(ranked.score[i]), bool(ranked.matched[0, i]))
                boxes[self.images[ranked.image[i]]].append(box)
        return {image: sorted(found, key=lambda box: -(box.score or 0)) for image, found in boxes.items()}

    def average_precision(self, weights: np.ndarray, size: str = "all") -> np.ndarray:
        """AP by class of samples of the images.

        Args:
            weights: How often each image is in each sample, `(S, images)`.
            size: One of `SIZES`.

        Returns:
            `(S, classes)`; NaN where a sample has no object of the class.
        """
        blocks = []
        for start in range(0, len(weights), BLOCK):
            drawn = np.ascontiguousarray(weights[start : start + BLOCK].T, dtype=np.float32)
            ranked = [self._ranked[label, size] for label in range(len(self.classes))]
            blocks.append(np.stack([one.precision(drawn) for one in ranked], axis=1))
        return np.concatenate(blocks)


def mean_over_classes(by_class: np.ndarray) -> np.ndarray:
    """COCO's AP from the classes' `(S, classes, ...)`: the mean of those that have objects; NaN if none has."""
    counts = np.isfinite(by_class).sum(1)
    return np.where(counts > 0, np.nansum(by_class, axis=1) / np.maximum(counts, 1), np.nan)


def _read_results(truth: COCO, path: Path) -> COCO:
    with path.open() as file:  # so that an error names the file
        results = json.load(file)
    if strangers := {result["image_id"] for result in results} - truth.imgs.keys():
        raise ValueError(f"{str(path)!r} is of other images ({next(iter(strangers))!r}, ...): delete it to test again")
    if results:
        return truth.loadRes(results)
    nothing = COCO()  # `loadRes` fails on an empty list
    nothing.dataset = {**truth.dataset, "annotations": []}
    nothing.createIndex()
    return nothing


def _rank(evaluations: Sequence[dict | None], detections: COCO) -> _Ranked:
    """From pycocotools' evaluation of each image; `None` where it has neither object nor detection."""
    present = [(i, evaluation) for i, evaluation in enumerate(evaluations) if evaluation is not None]
    objects = np.zeros(len(evaluations), dtype=int)
    for i, evaluation in present:
        objects[i] = np.sum(np.asarray(evaluation["gtIgnore"]) == 0)
    image = np.array([i for i, evaluation in present for _ in evaluation["dtIds"]], dtype=int)
    boxes = [detections.anns[number]["bbox"] for _, evaluation in present for number in evaluation["dtIds"]]
    score = np.array([score for _, evaluation in present for score in evaluation["dtScores"]])
    none = np.zeros((10, 0))  # COCO has 10 IoU thresholds
    matched = np.concatenate([none, *(evaluation["dtMatches"] for _, evaluation in present)], axis=1) > 0
    counted = np.concatenate([none, *(evaluation["dtIgnore"] for _, evaluation in present)], axis=1) == 0
    order = np.argsort(-score, kind="mergesort")
    order = order[counted[:, order].any(0)]
    return _Ranked(
        image=image[order],
        bbox=np.array(boxes, dtype=float).reshape(-1, 4)[order],
        score=score[order],
        matched=(matched & counted)[:, order],
        counted=counted[:, order],
        objects=objects,
    )
