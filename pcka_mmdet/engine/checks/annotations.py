"""Whether annotation files are there, and whether their classes are those of the data set and of the head."""

import json
import logging
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from pcka_mmdet.configuration.data_set import annotation_file, annotation_path, data_classes, data_set_class, evaluators
from pcka_mmdet.configuration.distillation import student_model
from pcka_mmdet.configuration.nested import walk

OF_A_TRAINING = ("train_dataloader", "val_dataloader")


def check_annotations(config: Config, loaders: Iterable[str] = OF_A_TRAINING) -> None:
    """Refuse annotation files that are missing, or whose classes are not those of the data set and the head.

    It reads the categories of local files in COCO's format, for MMDetection's data sets. MMDetection numbers labels in
    the order of each file, so the files of a training need one order.

    Args:
        config: The complete config.
        loaders: Names of the data loaders.

    Raises:
        FileNotFoundError: A file, or the folder of its images, is missing.
        ValueError: A file lacks a class or holds no annotations, the head has another number of classes, two files have
            another order, or an evaluator reads another file than its loader.
    """
    heads, first = head_classes(student_model(config)), None
    scope = config.get("default_scope")
    for loader, dataset in data_sets(config, loaders):
        _check_data_set(loader, dataset, heads, scope)
        _check_image_folder(loader, dataset)
        order = _order(dataset, scope)
        if order and first and order != first[1] and set(order) == set(first[1]):
            raise ValueError(
                f"{loader}: {str(annotation_file(dataset))!r} has the classes in the order {order}, and {first[0]!r} "
                f"in the order {first[1]}. MMDetection numbers labels in the order of each file, so equal labels would "
                "mean other classes: write the categories of both files in one order"
            )
        if order and first is None:
            first = str(annotation_file(dataset)), order
    for loader in loaders:
        _check_evaluators(config, loader)


def doubts_of_annotations(config: Config, loaders: Iterable[str] = OF_A_TRAINING) -> list[str]:
    """What may be wrong with annotation files that `check_annotations` takes, and what to do.

    Args:
        config: See `check_annotations`.
        loaders: Likewise.
    """
    doubts, scope = [], config.get("default_scope")
    for loader, dataset in data_sets(config, loaders):
        order, classes = _order(dataset, scope), data_classes(dataset, scope)
        if order and order != list(classes):
            doubts.append(
                f"{loader}: labels are numbered in the order of {str(annotation_file(dataset))!r}, {order}, and "
                f"metainfo.classes is {list(classes)}: names beside detections would be wrong. Write the classes in "
                "the order of the file"
            )
    return doubts


def _check_evaluators(config: Config, loader: str) -> None:
    """Refuse an evaluator that reads another annotation file than its loader's data set."""
    option = loader.replace("dataloader", "evaluator")
    read = {annotation_file(dataset).resolve() for _, dataset in data_sets(config, [loader])}
    for evaluator in evaluators(config, option).values():
        file = evaluator.get("ann_file")
        if file and "://" not in file and len(read) == 1 and Path(file).resolve() not in read:
            raise ValueError(
                f"{option} compares with {file!r}, and the images are those of {str(*read)!r}: the AP would be wrong, "
                f"or fail after an epoch. Set {option}.ann_file to the file of {loader}"
            )


def log_doubts(config: Config, loaders: Iterable[str] = OF_A_TRAINING) -> None:
    """Log `doubts_of_annotations` as warnings."""
    for doubt in doubts_of_annotations(config, loaders):
        print_log(doubt, "current", level=logging.WARNING)


def data_sets(config: Config, loaders: Iterable[str]) -> Iterator[tuple[str, dict]]:
    """The data sets with an annotation file, each with the name of its loader."""
    for loader in loaders:
        for key, value in walk(config.get(loader) or {}):
            for dataset in value if key == "datasets" else [value] if key == "dataset" else []:
                if isinstance(dataset, dict) and dataset.get("ann_file"):
                    yield loader, dataset


def head_classes(model: dict) -> set[int]:
    """`num_classes` of the box heads in a model dict; empty for a model that reads its classes as text."""
    if "language_model" in model:
        return set()
    found = (value for key, value in walk(model) if key == "bbox_head")
    heads = [head for value in found for head in (value if isinstance(value, list) else [value])]
    return {head["num_classes"] for head in heads if "num_classes" in head}


def _is_local(dataset: dict) -> bool:
    return "://" not in annotation_path(dataset) and not dataset.get("backend_args")


def is_local_coco(dataset: dict, scope: str | None) -> bool:
    """Whether the annotations of a data set are in a local file in COCO's format that is there."""
    return _is_local(dataset) and annotation_file(dataset).is_file() and _has_categories(dataset, scope)


def _check_image_folder(loader: str, dataset: dict) -> None:
    """Refuse a folder of images that is missing. MMPretrain's prefix is a string, and some of its sets download it."""
    prefix = dataset.get("data_prefix")
    prefix = prefix.get("img") if isinstance(prefix, dict) else None
    if prefix is None or not _is_local(dataset):
        return
    folder = os.path.join(dataset.get("data_root") or "", prefix)
    if folder and "://" not in folder and not os.path.exists(folder):
        raise FileNotFoundError(
            f"{loader}: there is no folder of images at {folder!r} (the current directory is {Path.cwd()}): set "
            f"{loader}.dataset.data_root and data_prefix.img"
        )


def _has_categories(dataset: dict, scope: str | None) -> bool:
    """Whether its file has categories to compare with its classes."""
    is_coco = annotation_file(dataset).suffix == ".json" and _is_coco(data_set_class(dataset, scope))
    return is_coco and data_classes(dataset, scope) is not None


def _order(dataset: dict, scope: str | None) -> list[str] | None:
    """The classes in the order of the annotation file, by which MMDetection numbers labels; `None` where it may number
    them in another way, or the file is not read."""
    path = annotation_file(dataset)
    if not (_is_local(dataset) and path.is_file() and _has_categories(dataset, scope)):
        return None
    if not data_set_class(dataset, scope).load_data_list.__qualname__.startswith("CocoDataset."):
        return None  # Objects365's sorts them
    classes = data_classes(dataset, scope)
    return [name for name in _category_names(path) if name in classes]


def _is_coco(kind: type[BaseDataset] | None) -> bool:
    """Whether it is MMDetection's data set in COCO's format; MMDetection, which may be absent, is not imported.

    The panoptic one is excluded: some of its classes are not objects, and no box head has them.
    """
    names = [base.__name__ for base in getattr(kind, "__mro__", ()) if base.__module__.startswith("mmdet.")]
    return "CocoDataset" in names and "CocoPanopticDataset" not in names


def _check_data_set(loader: str, dataset: dict, heads: set[int], scope: str | None) -> None:
    path = annotation_file(dataset)
    if not _is_local(dataset):
        return
    if not path.is_file():
        raise FileNotFoundError(
            f"{loader}: no annotation file at {str(path)!r} (the current directory is {Path.cwd()}): set "
            f"{loader}.dataset.data_root and ann_file"
        )
    if not _has_categories(dataset, scope):
        return
    classes = data_classes(dataset, scope)
    if not path.stat().st_size:
        raise ValueError(f"{loader}: the annotation file {str(path)!r} is empty: make or copy it again")
    known = _category_names(path)
    lacking = [name for name in classes if name not in known]
    reads_categories = data_set_class(dataset, scope).load_data_list.__module__.startswith("mmdet.")  # else a user's
    if lacking and reads_categories:
        raise ValueError(
            f"{loader}: {str(path)!r} has no category {lacking}; it has {known}. Set {loader}.dataset.metainfo="
            "dict(classes=(...)) to the names in the file, and num_classes of the head to their number"
        )
    if heads and heads != {len(classes)}:
        raise ValueError(
            f"{loader} has {len(classes)} classes {list(classes)}, and the bbox_head num_classes={sorted(heads)}: set "
            f"num_classes of the student's head to {len(classes)}"
        )


def _category_names(path: Path) -> list[str]:
    """Names of the categories in a file of COCO's format. A file that has not changed is read once."""
    stat = path.stat()
    return _read_category_names(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read_category_names(path: Path, *changes: int) -> list[str]:
    """See `_category_names`. If possible it does not parse all of the file (COCO: 450 MB)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = re.search(rb'"categories"\s*:\s*', text)
        start = found.end() if found else 0
        beginning = text[start : start + 1_000_000].decode(errors="ignore")
    try:
        return [category["name"] for category in json.JSONDecoder().raw_decode(beginning)[0]]
    except (json.JSONDecodeError, KeyError, TypeError):  # very many categories, or another key named so
        content = json.loads(path.read_text())
    if isinstance(content, list):
        raise ValueError(
            f"{str(path)!r} is a JSON list, such as the detections that an evaluation writes, and no annotation file: "
            "give the file of the boxes that were drawn, with `images`, `annotations` and `categories`"
        )
    try:
        return [category["name"] for category in content.get("categories", [])]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{str(path)!r} is no annotation file of COCO's format: `categories` is a list of dict(id=..., name=...)"
        ) from error
