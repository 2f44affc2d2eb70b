"""Whether annotation files are there, and whether their classes are those of the data set and of the head."""

import json
import logging
import mmap
import re
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from pcka_mmdet.configuration.data_set import annotation_file, annotation_path, data_classes, data_set_class
from pcka_mmdet.configuration.distillation import student_model
from pcka_mmdet.configuration.nested import walk


def check_annotations(config: Config) -> None:
    """Refuse annotation files that are missing, or whose classes are not those of the data set and the head.

    It reads the categories of local files in COCO's format, for MMDetection's data sets.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file lacks a class, or the head has another number of classes.
    """
    heads = head_classes(student_model(config))
    for loader in ("train_dataloader", "val_dataloader"):
        for key, value in walk(config.get(loader) or {}):
            for dataset in value if key == "datasets" else [value] if key == "dataset" else []:
                if isinstance(dataset, dict) and dataset.get("ann_file"):
                    _check_data_set(loader, dataset, heads, config.get("default_scope"))


def head_classes(model: dict) -> set[int]:
    """`num_classes` of the box heads in a model dict; empty for a model that reads its classes as text."""
    if "language_model" in model:
        return set()
    found = (value for key, value in walk(model) if key == "bbox_head")
    heads = [head for value in found for head in (value if isinstance(value, list) else [value])]
    return {head["num_classes"] for head in heads if "num_classes" in head}


def _is_coco(kind: type[BaseDataset] | None) -> bool:
    """Whether it is MMDetection's data set in COCO's format; MMDetection, which may be absent, is not imported.

    The panoptic one is excluded: some of its classes are not objects, and no box head has them.
    """
    names = [base.__name__ for base in getattr(kind, "__mro__", ()) if base.__module__.startswith("mmdet.")]
    return "CocoDataset" in names and "CocoPanopticDataset" not in names


def _check_data_set(loader: str, dataset: dict, heads: set[int], scope: str | None) -> None:
    path = annotation_file(dataset)
    if "://" in annotation_path(dataset) or dataset.get("backend_args"):
        return
    if not path.is_file():
        raise FileNotFoundError(
            f"{loader}: no annotation file at {str(path)!r} (the current directory is {Path.cwd()}): set "
            f"{loader}.dataset.data_root and ann_file"
        )
    if path.suffix != ".json" or not _is_coco(data_set_class(dataset, scope)):
        return
    classes = data_classes(dataset, scope)
    if classes is None:
        return
    if not path.stat().st_size:
        raise ValueError(f"{loader}: the annotation file {str(path)!r} is empty: make or copy it again")
    known = _category_names(path)
    lacking = [name for name in classes if name not in known]
    if lacking:
        raise ValueError(
            f"{loader}: {str(path)!r} has no category {lacking}; it has {known}. Set {loader}.dataset.metainfo="
            "dict(classes=(...)) to the names in the file, and num_classes of the head to their number"
        )
    order = [name for name in known if name in classes]
    if order != list(classes):
        print_log(
            f"{loader}: labels are numbered in the order of {str(path)!r}, {order}, and metainfo.classes is "
            f"{list(classes)}: names beside detections would be wrong. Write the classes in the order of the file",
            "current",
            level=logging.WARNING,
        )
    if heads and heads != {len(classes)}:
        raise ValueError(
            f"{loader} has {len(classes)} classes {list(classes)}, and the bbox_head num_classes={sorted(heads)}: set "
            f"num_classes of the student's head to {len(classes)}"
        )


def _category_names(path: Path) -> list[str]:
    """Names of the categories in a file of COCO's format, if possible without parsing all of it (COCO: 450 MB)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = re.search(rb'"categories"\s*:\s*', text)
        start = found.end() if found else 0
        beginning = text[start : start + 1_000_000].decode(errors="ignore")
    try:
        return [category["name"] for category in json.JSONDecoder().raw_decode(beginning)[0]]
    except (json.JSONDecodeError, KeyError, TypeError):  # very many categories, or another key named so
        return [category["name"] for category in json.loads(path.read_text()).get("categories", [])]
