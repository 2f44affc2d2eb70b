"""Scenes as COCO annotations.

Boxes enclose the *visible* pixels, as in COCO: where a later digit or the border hides the end of a digit, its box ends
there too. There are no segmentations, so `area` is the area of the box. COCO's small, medium and large then sort
ground truth and detections by the same measure.
"""

from collections.abc import Mapping

from .scenes import Scene
from .splits import CLASSES

DESCRIPTION = "pcka_mmdet digit scenes: handwritten digits (scikit-learn) on photographs (scikit-image, scikit-learn)"
VERSION = "1"  # raise it with every change that alters a scene: sets of another version are built again
CATEGORIES = [{"id": number, "name": name, "supercategory": "digit"} for number, name in enumerate(CLASSES, start=1)]


def make_info(sizes: Mapping[str, int], image_size: int, seed: int) -> dict:
    """The `info` entry. Two sets are equal if and only if their entries are."""
    return {
        "description": DESCRIPTION,
        "version": VERSION,
        "seed": seed,
        "image_size": image_size,
        "sizes": dict(sizes),
    }


class Annotations:
    """The contents of one annotation file, filled scene by scene.

    Besides COCO's own keys, an image has `photograph` and `crop` (x, y, width, height), the part of the photograph
    that it shows. An annotation has `digit`, its number in scikit-learn's set.
    """

    def __init__(self, info: dict) -> None:
        """Start with no scene."""
        self.content = {"info": info, "images": [], "annotations": [], "categories": CATEGORIES}

    def add(self, scene: Scene, file_name: str) -> None:
        """Append the next scene, shown by `file_name`. Ids start at 1: pycocotools ignores a match with id 0."""
        images, annotations = self.content["images"], self.content["annotations"]
        height, width, _ = scene.image.shape
        top, left, crop_height, crop_width = scene.crop
        images.append(
            {
                "id": len(images) + 1,
                "file_name": file_name,
                "width": width,
                "height": height,
                "photograph": scene.photograph,
                "crop": [left, top, crop_width, crop_height],
            }
        )
        for digit, label, box in zip(scene.digits.tolist(), scene.labels.tolist(), scene.boxes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "digit": digit,
                }
            )
