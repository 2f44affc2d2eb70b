"""Detections of many images: their type, and several teachers' boxes as one."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.mask import iou

from pcka_mmdet.checkpoints.atomic_write import write_json

Box = tuple[float, float, float, float]
"""`x, y, width, height` in pixels."""

SAME_OBJECT = 0.55
"""IoU from which boxes of several teachers are of one object; the value of the source."""


@dataclass(frozen=True)
class Detection:
    """A detected object."""

    bbox: Box
    score: float
    name: str
    """Of its class."""


Detections = dict[int | str, list[Detection]]
"""Detections by id of the image, for all images."""


def write_results(detections: Detections, category_ids: dict[str, int], file: Path) -> None:
    """Write a file in COCO's results format; classes without an id are left out."""
    rows = [
        dict(image_id=image, category_id=category_ids[one.name], bbox=list(one.bbox), score=one.score)
        for image, found in detections.items()
        for one in found
        if one.name in category_ids
    ]
    write_json(file, rows)


def fuse(teachers: Sequence[Detections], classes: Sequence[Sequence[str]]) -> Detections:
    """One set of detections from several teachers'; a single teacher's stay as they are. `classes`: what each knows."""
    if len(teachers) == 1:
        return teachers[0]
    knowing = Counter(name for names in classes for name in names)
    return {image: list(_fuse_image([found[image] for found in teachers], knowing)) for image in teachers[0]}


def _fuse_image(teachers: Sequence[Sequence[Detection]], knowing: Mapping[str, int]) -> Iterator[Detection]:
    of_classes: dict[str, list[Detection]] = defaultdict(list)
    for one in (one for found in teachers for one in found):
        of_classes[one.name].append(one)
    for name, found in of_classes.items():
        for bbox, score in weighted_boxes(found, knowing[name]):
            yield Detection(bbox, score, name)


def weighted_boxes(found: Sequence[Detection], teachers: int) -> list[tuple[Box, float]]:
    """Weighted boxes fusion of the detections of one class (Solovyev et al., arXiv:1910.13302, section 3).

    By falling score, a box joins the cluster whose fused box it overlaps most, or begins one. The fused box is the
    mean of its cluster, weighted by the scores. Its score is their mean, times the share of the teachers, at most 1,
    that found it; `teachers` is the number of those that know the class.

    Returns:
        Boxes and scores, by falling score.
    """
    clusters: list[list[Detection]] = []
    fused: list[Box] = []
    for one in sorted(found, key=lambda one: -one.score):
        overlaps = overlap([one.bbox], fused)[0]
        best = int(overlaps.argmax()) if len(fused) else 0
        if len(fused) and overlaps[best] > SAME_OBJECT:
            clusters[best].append(one)
            fused[best] = _mean_box(clusters[best])
        else:
            clusters.append([one])
            fused.append(one.bbox)
    scores = [
        float(np.mean([one.score for one in cluster])) * min(len(cluster), teachers) / teachers for cluster in clusters
    ]
    return sorted(zip(fused, scores, strict=True), key=lambda result: -result[1])


def _mean_box(cluster: Sequence[Detection]) -> Box:
    """Mean of the corners, weighted by the scores; the same as the mean of `x, y, width, height`."""
    weights = [max(one.score, 1e-6) for one in cluster]  # whose sum is not 0
    return as_box(np.average([one.bbox for one in cluster], axis=0, weights=weights))


def as_box(numbers: Iterable[float]) -> Box:
    """Four numbers as a box."""
    x, y, width, height = map(float, numbers)
    return x, y, width, height


def overlap(boxes: Sequence[Box], others: Sequence[Box], within: bool = False) -> np.ndarray:
    """IoU of N boxes with M others, `(N, M)`; or, with `within`, the share of each box's area in the others."""
    if not len(boxes) or not len(others):
        return np.zeros((len(boxes), len(others)))
    return iou(np.array(boxes, dtype=float), np.array(others, dtype=float), [int(within)] * len(others))
