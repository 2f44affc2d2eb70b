"""Tiny sets in COCO's format."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


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
