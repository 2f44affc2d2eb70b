"""The annotation file of one split of a data set, in COCO's format."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class CocoSplit:
    """The annotation file of one split, as it is written. Ids start at 1: pycocotools ignores a match with id 0.

    Args:
        info: The entry `info`, with a `description` of the data set.
        classes: Names of the classes.
        more: Further keys of each category.
    """

    def __init__(self, info: Mapping[str, Any], classes: Sequence[str], **more: Any):
        self.classes = classes
        self._boxes: set[tuple] = set()
        """Class and box of each annotation of the last image."""
        self.content = {
            "info": dict(info),
            "images": [],
            "annotations": [],
            "categories": [{"id": number, "name": name, **more} for number, name in enumerate(classes, start=1)],
        }

    def add_image(self, file_name: str, width: int, height: int, **more: Any) -> None:
        """Append an image; `more` are further keys."""
        images, self._boxes = self.content["images"], set()
        images.append({"id": len(images) + 1, "file_name": file_name, "width": width, "height": height, **more})

    def add_box(self, name: str, left: float, top: float, right: float, bottom: float, **more: Any) -> None:
        """Append a box of the last image, clipped to it; an empty one, or one that is there already, is left out.

        Args:
            name: Its class.
            left: Its borders, in pixels.
            top: Likewise.
            right: Likewise.
            bottom: Likewise.
            more: Further keys.

        Raises:
            ValueError: There is no such class.
        """
        image, annotations = self.content["images"][-1], self.content["annotations"]
        if name not in self.classes:
            raise ValueError(
                f"{image['file_name']} has an object of class {name!r}; expected one of {', '.join(self.classes)}"
            )
        left, right = (min(max(x, 0.0), image["width"]) for x in (left, right))
        top, bottom = (min(max(y, 0.0), image["height"]) for y in (top, bottom))
        box, category = [left, top, right - left, bottom - top], self.classes.index(name) + 1
        if min(box[2:]) <= 0 or (category, *box) in self._boxes:
            return
        self._boxes.add((category, *box))
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                **more,
            }
        )

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(self.content))
