"""Check each entry of annotation files in COCO's format."""

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from pcka_mmdet.configuration.data_set import by_place, image_folder, image_name
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.schedule import used_images

from . import ERROR, OK, WARNING, Finding
from .annotations import DataSet, data_sets

LOADERS = {"train_dataloader": ERROR, "val_dataloader": ERROR, "test_dataloader": WARNING}
"""Data loaders, and the level of what is wrong with their files. A training needs none for the test."""

SEEN = "the AP would be that of images seen in the training: take different images"
CHOSEN_ON = (
    "the best checkpoint is chosen on the images that it is tested on, so its AP on them is too high: keep some images "
    "for the test"
)
SHARED = {("train", "val"): SEEN, ("train", "test"): SEEN, ("val", "test"): CHOSEN_ON}
"""What is wrong with images that two splits share."""

IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = dict.fromkeys(("id", "image_id", "category_id", "bbox"), "write it")
ANNOTATION_KEYS |= {"area": "write width times height of the box", "iscrowd": "write 0"}
"""What to do where a key is missing. Only COCO's metric reads `iscrowd`."""

TOLERANCE = 1.0
"""Pixels by which a box may leave its image."""

CORNERS = 0.1
"""Share of boxes outside their images above which all are taken for corners, if fewer do not fit as such."""

Rule = tuple[str, Sequence[bool] | np.ndarray, str]
"""Level, which entries break the rule, and what is wrong with them."""


def examine_entries(config: Config) -> Iterator[Finding]:
    """Findings on the entries of local files in COCO's format, and on images that two splits share."""
    images: dict[str, set[str]] = defaultdict(set)  # paths by split
    for data in data_sets(config, LOADERS):
        split = data.loader.removesuffix("_dataloader")
        try:
            if not data.is_coco:
                continue
            content = json.loads(data.path.read_text())
            for image in content["images"]:
                if "coco_url" in image:
                    image.setdefault("file_name", image_name(image))
            metrics = {last_name(metric.get("type")) for metric in by_place(config, f"{split}_evaluator").values()}
            by_coco = split != "train" and (not metrics or "CocoMetric" in metrics)
            findings = list(_examine_file(content, data, f"entries of {split}", by_coco))
        except (OSError, ValueError):  # `check_annotations` says so
            continue
        except (KeyError, TypeError, AttributeError) as error:
            text = f"{str(data.path)!r} is not in COCO's format ({error!r}): make or copy it again"
            yield Finding(LOADERS[data.loader], f"entries of {split}", text)
            continue
        yield from findings
        names = (str(image.get("file_name")) for image in content["images"])
        images[split].update(os.path.normpath(os.path.join(image_folder(data.config), name)) for name in names)
    for (first, second), advice in SHARED.items():
        if shared := images[first] & images[second]:
            text = f"{len(shared)}, such as {min(shared)!r}: {advice}"
            yield Finding(WARNING, f"{first} and {second} share images", text)


def _examine_file(content: dict, data: DataSet, subject: str, by_coco: bool) -> Iterator[Finding]:
    """Findings on a file. `by_coco` is whether COCO's metric reads it."""
    images, annotations = content["images"], content["annotations"]
    is_right = True
    for level, flags, text in _rules(images, annotations, content["categories"], by_coco):
        if any(flags):
            is_right = False
            level = WARNING if LOADERS[data.loader] == WARNING else level
            yield Finding(level, subject, f"{sum(flags)} of {len(flags)} {text} ({str(data.path)!r})")
    if is_right:
        used = used_images(data.config, len(images))
        text = f"; {used} of the images are used (indices)" if used < len(images) else ""
        yield Finding(OK, subject, f"{len(images)} images, {len(annotations)} boxes{text}")


def refuse_entries(content: dict, file: Path) -> None:
    """Refuse annotations in COCO's format that `doctor` calls wrong, and those that would be left out.

    Raises:
        ValueError: What is wrong with them.
    """
    try:
        for level, flags, text in _rules(
            content["images"], content["annotations"], content["categories"], False, ERROR
        ):
            if level == ERROR and any(flags):
                raise ValueError(f"{sum(flags)} of {len(flags)} {text} ({str(file)!r})")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(file)!r} is not in COCO's format ({error!r}): make or copy it again") from error


def _rules(
    images: list[dict], annotations: list[dict], categories: list[dict], by_coco: bool, unlisted_level: str = WARNING
) -> Iterator[Rule]:
    text = "categories lack 'id' or 'name': write both"
    yield ERROR, [not {"id", "name"} <= category.keys() for category in categories], text
    for key in IMAGE_KEYS:
        missing = [key not in image for image in images]
        yield ERROR, missing, f"images lack {key!r}, which MMDetection reads: write it"
    text = "images have the id of another: their boxes would be mixed; number the images anew"
    yield ERROR, _repeats(images, "id"), text
    text = "images are in the file twice: leave each in once, with all of its boxes"
    yield WARNING, _repeats(images, "file_name"), text

    for key, advice in ANNOTATION_KEYS.items():
        missing = [key not in box and (key != "iscrowd" or by_coco) for box in annotations]
        yield ERROR, missing, f"annotations lack {key!r}, which MMDetection or COCO's metric reads: {advice}"
    text = "annotations have the id of another, and COCO's metric would lose one: number them anew"
    yield ERROR, _repeats(annotations, "id"), text
    text = "annotations have the id 0, which COCO's metric takes for no match: count from 1"
    yield WARNING, [box.get("id") == 0 and by_coco for box in annotations], text
    sizes = {str(image.get("id")): [image.get("width"), image.get("height")] for image in images}
    unlisted = [str(box.get("image_id")) not in sizes for box in annotations]
    text = "annotations are of an image that the file does not list, and are left out: list it"
    yield unlisted_level, unlisted, text
    names = {str(category.get("id")) for category in categories}
    unlisted = [str(box.get("category_id")) not in names for box in annotations]
    text = "annotations are of a category that the file does not list, and are left out: list it"
    yield unlisted_level, unlisted, text

    boxes = [(box.get("bbox"), sizes.get(str(box.get("image_id")))) for box in annotations]
    text = "boxes are not four numbers x, y, width, height (or are NaN or infinite): mend or delete them"
    yield ERROR, [not _are_numbers(box, 4) for box, _ in boxes], text
    yield from _rules_of_sizes([[*box, *size] for box, size in boxes if _are_numbers(box, 4) and _are_numbers(size, 2)])


def _repeats(entries: list[dict], key: str) -> np.ndarray:
    """Whether an earlier entry has the same value."""
    _, first = np.unique([str(entry.get(key)) for entry in entries], return_index=True)
    flags = np.ones(len(entries), dtype=bool)
    flags[first] = False
    return flags


def first_problem(boxes: list[list[float]]) -> str | None:
    """What is wrong with boxes `x, y, width, height` in pixels, each with width and height of its image, if much is."""
    for level, flags, text in _rules_of_sizes(boxes):
        if any(flags) and (level == ERROR or sum(flags) > CORNERS * len(boxes)):
            return f"{sum(flags)} of {len(flags)} {text}"
    return None


def _rules_of_sizes(boxes: list[list[float]]) -> Iterator[Rule]:
    """Rules of boxes `x, y, width, height` in pixels, each with width and height of its image."""
    x, y, width, height, image_width, image_height = np.array(boxes, dtype=float).reshape(-1, 6).T
    largest = np.max([x, y, width, height], axis=0)
    fractions = (largest > 0) & (largest <= 1.5) & (np.minimum(image_width, image_height) > 8)
    right, bottom = image_width + TOLERANCE, image_height + TOLERANCE
    outside = (np.minimum(x, y) < -TOLERANCE) | (x + width > right) | (y + height > bottom)
    fit_as_corners = (width >= x) & (height >= y) & (width <= right) & (height <= bottom)
    if fractions.sum() > len(boxes) / 2:
        text = (
            "boxes are fractions of the image's size: MMDetection reads pixels, so multiply x and width by the image's "
            "width, y and height by its height"
        )
        yield ERROR, fractions, text
    elif outside.sum() > CORNERS * len(boxes) and fit_as_corners.sum() > (1 - CORNERS) * len(boxes):
        text = (
            "boxes leave their images, and they would fit as corners x1, y1, x2, y2: COCO has x, y, width, height, so "
            "write x2 - x1 and y2 - y1 in their place"
        )
        yield ERROR, outside, text
    else:
        text = "boxes leave their images: are width and height of those right? Cut the boxes"
        yield WARNING, outside, text
        text = "boxes are narrower or lower than a pixel, and MMDetection leaves them out: delete them"
        yield WARNING, np.minimum(width, height) < 1, text


def _are_numbers(values: Any, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(isinstance(side, (int, float)) and not isinstance(side, bool) and math.isfinite(side) for side in values)
