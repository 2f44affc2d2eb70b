"""Tiny sets in COCO's format."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def write_coco(
    root: Path, classes: Sequence[str], annotations: Sequence[str], images: int = 2, size: tuple[int, int] = (160, 320)
) -> Path:
    """Noise images of `(height, width)` pixels in `root/images`, two boxes each, in each of the annotation files."""
    (root / "images").mkdir(parents=True)
    height, width = size
    entries = [dict(id=i, file_name=f"{i}.jpg", width=width, height=height) for i in range(images)]
    for entry in entries:
        pixels = np.random.RandomState(entry["id"]).randint(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / entry["file_name"])
    boxes = [
        dict(id=i + 1, image_id=i // 2, category_id=1 + i % len(classes), bbox=[10 + 20 * i, 10, 40, 60])
        for i in range(2 * images)
    ]
    boxes = [dict(box, area=2400, iscrowd=0) for box in boxes]
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
    for name in annotations:
        (root / name).write_text(json.dumps(dict(images=entries, annotations=boxes, categories=categories)))
    return root


def recall(annotations: Path, predictions: Path) -> float:
    """COCO's AR of 100 detections, classes aside, of what `tools/test.py --out` wrote: by pycocotools alone."""
    truth = COCO(annotations)
    found = []
    for image in pickle.loads(predictions.read_bytes()):
        instances = image["pred_instances"]
        for score, (x1, y1, x2, y2) in zip(instances["scores"].tolist(), instances["bboxes"].tolist(), strict=True):
            box = dict(category_id=1, score=score, bbox=[x1, y1, x2 - x1, y2 - y1])
            found.append(dict(box, image_id=image["img_id"]))
    evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluation.params.useCats = 0
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[8]
