"""Detections from a file in COCO's results format, of any framework or service."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcka_mmdet.configuration.images import ImageSet
from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.engine.checks.entries import first_problem

from .annotate import SMALLEST
from .detections import Detection, Detections, as_box

FORMAT = "a list of dict(image_id=..., category_id=..., bbox=[x, y, width, height], score=...)"


def read_classes(file: Path) -> dict[str, str | None]:
    """A map of class names or ids of a results file to ours: a JSON object. `null` leaves a class out.

    Raises:
        ValueError: It is not an object of that kind.
    """
    content = _read(file)
    values = content.values() if isinstance(content, dict) else [0]
    if not all(isinstance(name, str) or name is None for name in values):
        raise ValueError(f'{str(file)!r} is no map of classes: write {{"their name or id": "our name", ...}}')
    return content


def read_results(
    file: Path, images: ImageSet, category_ids: Mapping[str, int], classes: Mapping[str, str | None]
) -> Detections:
    """The detections of a file, matched with images by id or file name, and with classes by id or name.

    Args:
        file: In COCO's results format. `image_id` may be a file name, with or without its ending; `category_id` may be
            a name.
        images: The images. Those without a row have no detection.
        category_ids: Our classes with their ids.
        classes: Our names by the file's names or ids; for classes that it calls otherwise. `None` leaves one out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not in that format; an image or a class is unknown; or boxes are corners, fractions of the
            image's size, or outside the images.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {str(file)!r} of detections (the current directory is {Path.cwd()})")
    rows = _read(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        kind = "an annotation file" if isinstance(rows, dict) and "annotations" in rows else "not in that format"
        raise ValueError(f"{str(file)!r} is {kind}; detections are {FORMAT}")
    if not rows:
        raise ValueError(f"{str(file)!r} has no detection: detections are {FORMAT}")
    _refuse_incomplete(file, rows)
    entries = _entries(file, rows, images)
    names = _names(file, rows, category_ids, classes)
    boxes = [[*row["bbox"], e["width"], e["height"]] for row, e in zip(rows, entries, strict=True)]
    if problem := first_problem(boxes):
        raise ValueError(f"{str(file)!r}: {problem}")
    x, y, width, height, *sides = np.array(boxes).T
    within = [
        np.minimum(at + side, most) - np.maximum(at, 0)
        for at, side, most in zip((x, y), (width, height), sides, strict=True)
    ]
    if outside := int((np.minimum(*within) < SMALLEST).sum()):
        warn(
            f"{outside} of {len(boxes)} boxes of {str(file)!r} are left out: within their images they are narrower or "
            "lower than a pixel"
        )
    found: Detections = {entry["id"]: [] for entry in images.entries}
    for row, entry, name in zip(rows, entries, names, strict=True):
        if name is not None:
            found[entry["id"]].append(Detection(as_box(row["bbox"]), float(row["score"]), name))
    return {image: list(dict.fromkeys(of_image)) for image, of_image in found.items()}  # each row once


def _read(file: Path) -> Any:
    with file.open() as stream:  # an error of its JSON then names it
        return json.load(stream)


def _refuse_incomplete(file: Path, rows: Sequence[dict]) -> None:
    for key in ("image_id", "category_id", "bbox", "score"):
        lacking = [row for row in rows if key not in row]
        if lacking:
            raise ValueError(f"{len(lacking)} of {len(rows)} rows of {str(file)!r} lack {key!r}: it needs {FORMAT}")
    for row in rows:
        numbers = row["bbox"] if isinstance(row["bbox"], list) and len(row["bbox"]) == 4 else ["none"]
        if not all(type(side) in (int, float) and math.isfinite(side) for side in [*numbers, row["score"]]):
            raise ValueError(f"{str(file)!r} has the row {row}: bbox is four numbers, and score is one, all finite")
        if not 0 <= row["score"] <= 1:
            raise ValueError(f"{str(file)!r} has the score {row['score']}: scores are from 0 to 1")


def _entries(file: Path, rows: Sequence[dict], images: ImageSet) -> list[dict]:
    """The image of each row."""
    by_id = {str(entry["id"]): entry for entry in images.entries} if images.annotations else {}
    entries = [by_id.get(str(row["image_id"])) or images.by_name.get(str(row["image_id"])) for row in rows]
    unknown = [row["image_id"] for row, entry in zip(rows, entries, strict=True) if entry is None]
    if unknown:
        example = images.entries[0]
        wanted = f"{example['file_name']!r}" + (f" or its id {example['id']}" if images.annotations else "")
        raise ValueError(
            f"{len(unknown)} of {len(rows)} rows of {str(file)!r} are of images that {images.source!r} does not have, "
            f"such as image_id={unknown[0]!r}: write the file name, such as {wanted}"
        )
    return [entry for entry in entries if entry is not None]


def _names(
    file: Path, rows: Sequence[dict], category_ids: Mapping[str, int], classes: Mapping[str, str | None]
) -> list[str | None]:
    """Our class of each row; `None` for one that is left out."""
    if strange := {name for name in classes.values() if name is not None} - category_ids.keys():
        raise ValueError(f"--classes maps to {sorted(strange)}, and the classes are {list(category_ids)}")
    ids = {} if classes else {str(number): name for name, number in category_ids.items()}
    of_given: dict[str, str | None] = {**ids, **{name: name for name in category_ids}, **classes}
    unknown = {row["category_id"] for row in rows if str(row["category_id"]) not in of_given}
    if unknown:
        example = json.dumps(dict(zip(sorted(map(str, unknown)), category_ids, strict=False)))
        raise ValueError(
            f"{str(file)!r} has the classes {sorted(unknown, key=str)}, which are not known: the classes are "
            f"{dict(category_ids)}. Map them by --classes MAP.json, such as {example}, with "
            "null for a class to leave out"
        )
    return [of_given[str(row["category_id"])] for row in rows]
