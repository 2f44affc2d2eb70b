"""Ground truth and detections by image, from COCO annotations and from the results of a test.

Boxes are `(x1, y1, x2, y2)` in pixels of the original image.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

IOU = 0.5
"""Intersection over union from which a detection counts as an object's."""


@dataclass
class Boxes:
    """Boxes of one image with class numbers and, unless they are ground truth, scores in descending order."""

    boxes: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    scores: list[float] | None = None
    crowds: list[tuple[int, list[float]]] = field(default_factory=list)
    """Of ground truth, class and box of each crowd: a region whose objects are not annotated one by one."""


def read_ground_truth(annotations: Path, classes: Sequence[str]) -> dict[int | str, Boxes]:
    """The annotated boxes by image id, from a COCO file."""
    content = json.loads(annotations.read_text())
    labels = {c["id"]: list(classes).index(c["name"]) for c in content["categories"] if c["name"] in classes}
    truth = {image["id"]: Boxes() for image in content["images"]}
    for annotation in content["annotations"]:
        listed = annotation["image_id"] in truth and annotation["category_id"] in labels  # else of a larger set
        if not listed:
            continue
        image, label = truth[annotation["image_id"]], labels[annotation["category_id"]]
        x, y, width, height = annotation["bbox"]
        box = [x, y, x + width, y + height]
        if annotation.get("iscrowd"):
            image.crowds.append((label, box))
        else:
            image.boxes.append(box)
            image.labels.append(label)
    return truth


def read_results(path: Path, annotations: Path, classes: Sequence[str]) -> list[dict]:
    """The detections of every annotated image, from a file in COCO's format.

    Args:
        path: The file.
        annotations: The annotations in COCO's format.
        classes: Names of the classes.

    Returns:
        For each image `img_id`, and `pred_instances` with `bboxes` `(N, 4)`, `labels` and `scores`, in descending order
        of the scores.

    Raises:
        FileNotFoundError: There is no such file.
    """
    content = json.loads(annotations.read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[int | str, list[dict]] = {image["id"]: [] for image in content["images"]}
    for result in json.loads(path.read_text()):
        found[result["image_id"]].append(result)
    return [dict(img_id=image, pred_instances=_instances(results, names, classes)) for image, results in found.items()]


def _instances(results: list[dict], names: dict[int, str], classes: Sequence[str]) -> dict[str, np.ndarray]:
    results = sorted(results, key=lambda result: -result["score"])
    boxes = np.array([result["bbox"] for result in results], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([classes.index(names[result["category_id"]]) for result in results], dtype=int)
    return dict(bboxes=boxes, labels=labels, scores=np.array([result["score"] for result in results], dtype=float))


def detections(prediction: dict, threshold: float) -> Boxes:
    """The detections of one image with a score of at least `threshold`."""
    found = prediction["pred_instances"]
    keep = [number for number, score in enumerate(found["scores"].tolist()) if score >= threshold]
    boxes, labels, scores = (found[key][keep].tolist() for key in ("bboxes", "labels", "scores"))
    return Boxes(boxes, labels, scores)


def correct(found: Boxes, true: Boxes) -> list[bool]:
    """Which detections are true positives: the first of an object's class with an IoU of at least `IOU`."""
    free = set(range(len(true.labels)))
    result = []
    for box, label in zip(found.boxes, found.labels):
        candidates = [number for number in free if true.labels[number] == label]
        best = max(candidates, key=lambda number: overlap(box, true.boxes[number]), default=None)
        if best is not None and overlap(box, true.boxes[best]) < IOU:
            best = None
        result.append(best is not None)
        if best is not None:
            free.remove(best)
    return result


def outside_crowds(found: Boxes, true: Boxes) -> Boxes:
    """The detections without those that COCO counts neither as right nor as wrong: they match no object, and at least
    half of their area is in a crowd of their class."""

    def in_crowd(box: Sequence[float], label: int) -> bool:
        return any(label == other and _common(box, crowd) >= IOU * _area(box) > 0 for other, crowd in true.crowds)

    rows = zip(correct(found, true), found.boxes, found.labels, found.scores or (), strict=True)
    kept = [(box, label, score) for right, box, label, score in rows if right or not in_crowd(box, label)]
    return Boxes([box for box, _, _ in kept], [label for _, label, _ in kept], [score for _, _, score in kept])


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    common = _common(one, other)
    return common / (_area(one) + _area(other) - common) if common else 0.0


def _common(one: Sequence[float], other: Sequence[float]) -> float:
    """Area of the intersection of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
