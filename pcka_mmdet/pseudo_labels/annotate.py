"""A file in COCO's format from detections: sure boxes are objects, unsure ones are ignored, the rest is left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pcka_mmdet.configuration.images import ImageSet

from .detections import Detection, Detections, overlap
from .thresholds import Threshold

HIDDEN = 0.5
"""Share of a sure box within an unsure one, above which the latter is left out: its anchors would be ignored."""

SMALLEST = 1.0
"""Pixels of a side, below which MMDetection leaves a box out."""


@dataclass(frozen=True)
class Counts:
    """What a file of pseudo labels holds."""

    images: int
    sure: dict[str, int]
    """Objects by class."""
    unsure: int
    """Ignored boxes."""
    empty: int
    """Images without a sure box."""


def annotate(
    images: ImageSet, detections: Detections, thresholds: Sequence[Threshold], category_ids: dict[str, int], info: dict
) -> tuple[dict[str, Any], Counts]:
    """The content of an annotation file, and what it holds."""
    sides = {one.name: one for one in thresholds}
    annotations: list[dict[str, Any]] = []
    objects: Counter[str] = Counter()
    empty = 0
    for entry in images.entries:
        found = [_within(one, entry) for one in detections[entry["id"]] if one.name in sides]
        found = [one for one in found if min(one.bbox[2:]) >= SMALLEST]
        sure = [one for one in found if one.score >= sides[one.name].sure]
        doubtful = [one for one in found if sides[one.name].unsure <= one.score < sides[one.name].sure]
        empty += not sure
        objects.update(one.name for one in sure)
        for one, crowd in [*((one, 0) for one in sure), *((one, 1) for one in _not_hiding(doubtful, sure))]:
            annotations.append(_annotation(len(annotations) + 1, entry["id"], category_ids[one.name], one, crowd))
    of_classes = {name: objects[name] for name in category_ids}
    counts = Counts(len(images.entries), of_classes, len(annotations) - objects.total(), empty)
    categories = [dict(id=number, name=name) for name, number in category_ids.items()]
    return dict(info=info, images=images.entries, annotations=annotations, categories=categories), counts


def _within(one: Detection, entry: dict) -> Detection:
    """A detection cut to its image, to hundredths of a pixel."""
    x, y, width, height = one.bbox
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, entry["width"]), min(y + height, entry["height"])
    box = round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)
    return Detection(box, one.score, one.name)


def _not_hiding(doubtful: Sequence[Detection], sure: Sequence[Detection]) -> Iterator[Detection]:
    shares = overlap([one.bbox for one in sure], [one.bbox for one in doubtful], within=True)
    yield from (one for one, hidden in zip(doubtful, shares.T, strict=True) if hidden.max(initial=0.0) <= HIDDEN)


def _annotation(number: int, image: int | str, category: int, one: Detection, crowd: int) -> dict[str, Any]:
    ids: dict[str, Any] = dict(id=number, image_id=image, category_id=category, iscrowd=crowd)
    return dict(ids, bbox=list(one.bbox), area=round(one.bbox[2] * one.bbox[3], 2), score=round(one.score, 4))
