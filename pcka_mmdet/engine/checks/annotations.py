"""Check that annotation files and image folders exist, and that classes of files, data sets and heads agree."""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration import data_set
from pcka_mmdet.configuration.distillation import student_model
from pcka_mmdet.configuration.nested import walk


@dataclass(frozen=True)
class DataSet:
    """A data set with an annotation file on this machine."""

    loader: str
    path: Path
    config: dict
    scope: str | None

    @property
    def kind(self) -> Any:
        return data_set.data_set_class(self.config, self.scope)

    @property
    def classes(self) -> tuple[str, ...] | None:
        return data_set.data_classes(self.config, self.scope)

    @property
    def is_coco(self) -> bool:
        """Whether MMDetection, which is not imported, reads boxes in COCO's format; no head has panoptic classes."""
        names = [base.__name__ for base in getattr(self.kind, "__mro__", ()) if base.__module__.startswith("mmdet.")]
        reads_boxes = "CocoDataset" in names and "CocoPanopticDataset" not in names
        return self.path.suffix == ".json" and reads_boxes and self.classes is not None

    @property
    def reads_as_coco(self) -> bool:
        """Whether it also reads a file as `CocoDataset` does, labels in the file's order; Objects365 does not."""
        return self.is_coco and self.kind.load_data_list.__qualname__.startswith("CocoDataset.")


def data_sets(config: Config, loaders: Iterable[str]) -> Iterator[DataSet]:
    """The data sets of some loaders whose annotation file is on this machine."""
    for loader in loaders:
        for dataset in data_set.all_innermost((config.get(loader) or {}).get("dataset") or {}):
            if dataset.get("backend_args") or not dataset.get("ann_file"):
                continue
            path = data_set.annotation_path(dataset)
            if "://" not in path:
                yield DataSet(loader, Path(path), dataset, config.get("default_scope"))


def check_annotations(config: Config, loaders: Iterable[str] = ("train_dataloader", "val_dataloader")) -> list[str]:
    """Refuse missing files, and classes that differ between annotation files, data sets and the student's head.

    Classes are compared for files in COCO's format that MMDetection reads.

    Returns:
        Doubts: data sets whose classes are in another order than in the file.

    Raises:
        FileNotFoundError: An annotation file or a folder of images is missing.
        ValueError: A file is not in COCO's format or lacks a class, the head has another number of classes, two files
            list their classes in different orders, or an evaluator reads another file than its loader.
    """
    heads = head_classes(student_model(config))
    doubts: list[str] = []
    first: tuple[str, list[str]] | None = None
    for data in data_sets(config, loaders):
        _check_paths(data)
        if not data.is_coco:
            continue
        path, categories, classes = str(data.path), category_names(data.path), data.classes
        _check_classes(data, categories, heads)
        if not data.reads_as_coco:
            continue
        order = [name for name in categories if name in classes]
        if order != list(classes):
            doubts.append(
                f"{data.loader}: labels are numbered in the order of {path!r}, {order}, and metainfo.classes is "
                f"{list(classes)}: names beside detections would be wrong. Write the classes in the order of the file"
            )
        first = first or (path, order)
        if order != first[1] and set(order) == set(first[1]):
            raise ValueError(
                f"{data.loader}: {path!r} has the classes in the order {order}, and {first[0]!r} in the order "
                f"{first[1]}. MMDetection numbers labels in the order of each file, so equal labels would mean "
                "different classes: write the categories of both files in one order"
            )
    for loader in loaders:
        _check_evaluators(config, loader)
    return doubts


def _check_paths(data: DataSet) -> None:
    paths = {"ann_file": str(data.path), "data_prefix.img": data_set.image_folder(data.config)}
    for option, path in paths.items():
        if path and "://" not in path and not os.path.exists(path):
            raise FileNotFoundError(
                f"{data.loader}: {option} {path!r} does not exist (the current directory is {Path.cwd()}): set "
                f"{data.loader}.dataset.data_root and {option}"
            )


def category_names(path: Path) -> list[str]:
    """Names of the categories in a file of COCO's format; a ValueError refuses one of another format."""
    text = path.read_bytes()  # COCO's has 450 MB: only the categories are parsed, where that is possible
    match = re.search(rb'"categories"\s*:\s*', text)
    start = match.end() if match else 0
    beginning = text[start : start + 1_000_000].decode(errors="ignore")
    with contextlib.suppress(ValueError, KeyError, TypeError):  # very many categories, or a nested key of that name
        return [category["name"] for category in json.JSONDecoder().raw_decode(beginning)[0]]
    try:
        return [category["name"] for category in json.loads(text)["categories"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{str(path)!r} is no annotation file in COCO's format ({type(error).__name__}: {error}): it needs "
            "`images`, `annotations` and `categories`, a list of dict(id=..., name=...); detections are a JSON list"
        ) from error


def label_order(config: Config, loaders: Iterable[str] = ("train_dataloader",)) -> tuple[str, ...] | None:
    """A detector's classes in the order of its labels: MMDetection numbers them as the annotation file does.

    Without a file of these classes on this machine they are in the config's order; `None` if the config states none.
    """
    classes = data_set.known_classes(config)
    for data in data_sets(config, loaders):
        if data.reads_as_coco and data.path.is_file():
            order = tuple(name for name in category_names(data.path) if name in data.classes)
            return order if len(order) == len(data.classes) else data.classes
    return classes


def _check_classes(data: DataSet, categories: list[str], heads: set[int]) -> None:
    classes = list(data.classes or ())
    missing = [name for name in classes if name not in categories]
    if missing and data.kind.load_data_list.__module__.startswith("mmdet."):  # a user's class may map categories
        raise ValueError(
            f"{data.loader}: {str(data.path)!r} has no category {missing}; it has {categories}. Set "
            f"{data.loader}.dataset.metainfo=dict(classes=(...)) to the names in the file, and num_classes of the head "
            "to their number"
        )
    if heads and heads != {len(classes)}:
        raise ValueError(
            f"{data.loader} has {len(classes)} classes {classes}, and the bbox_head num_classes={sorted(heads)}: set "
            f"num_classes of the student's head to {len(classes)}"
        )


def _check_evaluators(config: Config, loader: str) -> None:
    option = loader.replace("dataloader", "evaluator")
    paths = {data.path.resolve() for data in data_sets(config, [loader])}
    for evaluator in data_set.by_place(config, option).values():
        file = evaluator.get("ann_file")
        if file and "://" not in file and len(paths) == 1 and Path(file).resolve() not in paths:
            raise ValueError(
                f"{option} compares with {file!r}, and the images are those of {str(*paths)!r}: the AP would be wrong, "
                f"or fail after an epoch. Set {option}.ann_file to the file of {loader}"
            )


def head_classes(model: dict) -> set[int]:
    """`num_classes` of the box heads in a model dict; empty for a model that reads its classes as text."""
    if "language_model" in model:
        return set()
    values = [value for key, value in walk(model) if key == "bbox_head"]
    heads = [head for value in values for head in (value if isinstance(value, list) else [value])]
    return {head["num_classes"] for head in heads if "num_classes" in head}
