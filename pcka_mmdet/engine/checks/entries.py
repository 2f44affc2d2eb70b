"""Every entry of the annotation files: images, boxes and the keys that MMDetection and COCO's metric read."""

import contextlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import annotation_file

from .annotations import data_sets, is_local_coco
from .finding import ERROR, OK, WARNING, Finding

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

TOLERANCE = 1.0
"""Pixels by which a box may leave its image."""

CORNERS = 0.1
"""Share of boxes outside of their images from which boxes that would fit as corners are taken for corners."""


def examine_entries(config: Config) -> Iterator[Finding]:
    """Findings on the entries of the local files in COCO's format, and on files and images that two loaders share.

    Args:
        config: The complete config.
    """
    files: dict[Path, list[str]] = {}
    folders: dict[Path, str] = {}
    for loader, dataset in data_sets(config, LOADERS):
        with contextlib.suppress(ValueError):  # its classes are wrong: `check_annotations` says so
            if is_local_coco(dataset, config.get("default_scope")):
                file = annotation_file(dataset).resolve()
                files.setdefault(file, []).append(loader)
                prefix = (dataset.get("data_prefix") or {}).get("img", "")
                folders.setdefault(file, os.path.join(dataset.get("data_root") or "", prefix))
    images: dict[str, set[tuple[str, str]]] = {}
    for file, loaders in files.items():
        subject = f"entries of {' and '.join(name.partition('_')[0] for name in dict.fromkeys(loaders))}"
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError):  # `check_annotations` has said so
            continue
        yield from _examine_file(subject, file, content, set(loaders))
        if isinstance(content, dict):
            names = {(folders[file], str(image.get("file_name"))) for image in _dicts(content, "images")}
            for loader in loaders:
                images.setdefault(loader, set()).update(names)
    yield from _shared(files, images)


def _shared(files: dict[Path, list[str]], images: dict[str, set[tuple[str, str]]]) -> Iterator[Finding]:
    """Files and images that are read for two purposes."""
    advice = {
        ("train_dataloader", "val_dataloader"): "the AP would be that of images seen in the training: take others",
        ("train_dataloader", "test_dataloader"): "the AP would be that of images seen in the training: take others",
        ("val_dataloader", "test_dataloader"): "the best checkpoint is chosen on the images that it is tested on, so "
        "its AP on them is too high: keep some images for the test alone",
    }
    for pair, text in advice.items():
        names = " and ".join(name.partition("_")[0] for name in pair)
        same = [file for file, loaders in files.items() if set(pair) <= set(loaders)]
        if same:
            yield Finding(WARNING, f"{names} are one file", f"{str(same[0])!r}: {text}")
        elif common := images.get(pair[0], set()) & images.get(pair[1], set()):
            first = min(common)[1]
            yield Finding(WARNING, f"{names} share images", f"{len(common)}, such as {first!r}: {text}")


def _dicts(content: dict, key: str) -> list[dict]:
    entries = content.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _examine_file(subject: str, file: Path, content: Any, loaders: set[str]) -> Iterator[Finding]:
    if not isinstance(content, dict):
        return  # `check_annotations` has said so
    images, boxes = _dicts(content, "images"), _dicts(content, "annotations")
    evaluated = loaders != {LOADERS[0]}
    problems = list(
        _problems(images, boxes, {str(category.get("id")) for category in _dicts(content, "categories")}, evaluated)
    )
    for level, number, of, text in problems:
        level = WARNING if loaders == {LOADERS[-1]} else level  # a training does without the test
        yield Finding(level, subject, f"{number} of {of} {text} ({str(file)!r})")
    if not problems:
        yield Finding(OK, subject, f"{len(images)} images, {len(boxes)} boxes")


def _problems(
    images: list[dict], boxes: list[dict], categories: set[str], evaluated: bool
) -> Iterator[tuple[str, int, str, str]]:
    """Level, number of entries, out of how many, and what is wrong with them.

    Args:
        images: Entries of `images`.
        boxes: Entries of `annotations`.
        categories: Ids of the categories, as text.
        evaluated: Whether COCO's metric reads the file.
    """

    def twice(entries: list[dict], key: str) -> int:
        return sum(count - 1 for value, count in Counter(str(e.get(key)) for e in entries if key in e).items())

    of_images, of_boxes = f"{len(images)} images", f"{len(boxes)} annotations"
    lacking = {key: sum(key not in image for image in images) for key in ("id", "file_name", "width", "height")}
    for key, number in lacking.items():
        if number:
            yield ERROR, number, of_images, f"lack {key!r}, which MMDetection reads: write it"
    if number := twice(images, "id"):
        yield ERROR, number, of_images, "have the id of another: their boxes would be mixed; number the images anew"
    if number := twice(images, "file_name"):
        yield WARNING, number, of_images, "are in the file twice: leave each in once, with all of its boxes"
    needed = ["id", "image_id", "category_id", "bbox", "area", *(["iscrowd"] if evaluated else [])]
    for key in needed:
        if number := sum(key not in box for box in boxes):
            how = {"area": "write width times height of the box", "iscrowd": "write 0"}.get(key, "write it")
            reader = "COCO's metric fails" if key == "iscrowd" else "MMDetection fails"
            yield ERROR, number, of_boxes, f"lack {key!r}, without which {reader}: {how}"
    if number := twice(boxes, "id"):
        yield ERROR, number, of_boxes, "have the id of another, and COCO's metric would lose one: number them anew"
    if evaluated and (number := sum(box.get("id") == 0 for box in boxes)):
        yield WARNING, number, of_boxes, "have the id 0, which COCO's metric takes for not found: count from 1"
    sizes = {str(image.get("id")): (image.get("width"), image.get("height")) for image in images}
    if number := sum(str(box["image_id"]) not in sizes for box in boxes if "image_id" in box):
        yield WARNING, number, of_boxes, "are of an image that the file does not list, and are left out: list it"
    if number := sum(str(box["category_id"]) not in categories for box in boxes if "category_id" in box):
        yield WARNING, number, of_boxes, "are of a category that the file does not list, and are left out: list it"
    yield from _problems_of_boxes(
        [(box["bbox"], sizes.get(str(box.get("image_id")))) for box in boxes if "bbox" in box]
    )


def _problems_of_boxes(boxes: list[tuple[Any, tuple | None]]) -> Iterator[tuple[str, int, str, str]]:
    """Likewise for boxes `(x, y, width, height)` in pixels, each with width and height of its image."""
    of_boxes = f"{len(boxes)} boxes"
    readable = [(box, size) for box, size in boxes if _is_box(box)]
    if number := len(boxes) - len(readable):
        yield (
            ERROR,
            number,
            of_boxes,
            "are not four numbers x, y, width, height (or are NaN or infinite): mend or delete them",
        )
    sized = [(*box, *size) for box, size in readable if size and all(isinstance(side, (int, float)) for side in size)]
    fractions = [box for box in sized if 0 < max(box[:4]) <= 1.5 and min(box[4:]) > 8]
    if len(fractions) > len(sized) / 2:
        yield (
            ERROR,
            len(fractions),
            of_boxes,
            "are fractions of the image's size: MMDetection reads pixels, so multiply x and width by the image's "
            "width, y and height by its height",
        )
        return
    outside = [box for box in sized if _leaves(box)]
    corners = [x2 >= x1 and y2 >= y1 and x2 <= w + TOLERANCE and y2 <= h + TOLERANCE for x1, y1, x2, y2, w, h in sized]
    if len(outside) > CORNERS * len(sized) and all(corners):
        yield (
            ERROR,
            len(outside),
            of_boxes,
            "leave their images, and all would fit as corners x1, y1, x2, y2: COCO's boxes are x, y, width, height, "
            "so write x2 - x1 and y2 - y1 in their place",
        )
        return
    if outside:
        yield WARNING, len(outside), of_boxes, "leave their images: are width and height of those right? Cut the boxes"
    if number := sum(min(box[2:]) < 1 for box, _ in readable):
        yield (
            WARNING,
            number,
            of_boxes,
            "are narrower or lower than a pixel, and MMDetection leaves them out: delete them",
        )


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    return all(isinstance(side, (int, float)) and not isinstance(side, bool) and math.isfinite(side) for side in box)


def _leaves(box: tuple) -> bool:
    x, y, width, height, of_width, of_height = box
    return min(x, y) < -TOLERANCE or x + width > of_width + TOLERANCE or y + height > of_height + TOLERANCE
