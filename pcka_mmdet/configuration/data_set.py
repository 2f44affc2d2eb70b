"""Annotation paths, classes, evaluators and metrics of a config's data sets."""

import os
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmengine.utils import is_abs

METRIC = "bbox_mAP"


def innermost(dataset: dict) -> dict:
    """The first data set inside wrappers (`RepeatDataset`, `ConcatDataset`)."""
    return all_innermost(dataset)[0]


def all_innermost(dataset: dict) -> list[dict]:
    """All data sets inside wrappers (`RepeatDataset`, `ConcatDataset`)."""
    if "dataset" in dataset:
        return all_innermost(dataset["dataset"])
    return [inner for part in dataset.get("datasets") or [] for inner in all_innermost(part)] or [dataset]


def mixes_extra(loader: dict) -> bool:
    """Whether `ExtraImagesSampler` mixes extra images, the second data set, with the labelled ones."""
    kind = (loader.get("sampler") or {}).get("type")
    return isinstance(kind, str) and kind.endswith("ExtraImagesSampler")


def labelled_part(loader: dict) -> dict:
    """The data set of a loader without extra images."""
    return loader["dataset"]["datasets"][0] if mixes_extra(loader) else loader["dataset"]


def repeats(dataset: dict) -> int:
    """How often wrappers (`RepeatDataset`) show each image in an epoch."""
    return dataset.get("times", 1) * repeats(dataset["dataset"]) if "dataset" in dataset else 1


def annotation_path(dataset: dict) -> str:
    """File or URL of the annotations of the innermost data set, joined with `data_root` as MMEngine does."""
    dataset = innermost(dataset)
    path = str(dataset["ann_file"])
    return path if is_abs(path) else os.path.join(dataset.get("data_root") or "", path)


def annotation_file(dataset: dict) -> Path:
    """The annotation path as a local file."""
    return Path(annotation_path(dataset))


def by_place(config: Config, option: str) -> dict[str, dict]:
    """The entries of an option that takes one or a list, by place in the config (`test_evaluator.0`)."""
    place, given = option, config.get(option) or []
    if isinstance(given, dict) and "metrics" in given:
        place, given = f"{option}.metrics", given["metrics"]
    if isinstance(given, (list, tuple)):
        return {f"{place}.{number}": entry for number, entry in enumerate(given)}
    return {place: given}


def image_folder(dataset: dict) -> str:
    """Folder of the images; empty where `data_prefix` is a string: MMPretrain may download those images."""
    prefix = dataset.get("data_prefix")
    if not isinstance(prefix, dict) or prefix.get("img") is None:
        return ""
    return os.path.join(dataset.get("data_root") or "", prefix["img"])


def image_name(image: Mapping) -> str:
    """File name of an image in an annotation file; LVIS has only `coco_url`, which MMDetection reads so."""
    return str(image.get("file_name") or image.get("coco_url", "").removeprefix("http://images.cocodataset.org/"))


def data_set_class(dataset: dict, scope: str | None) -> type[BaseDataset] | None:
    """The class of a data set, or `None` if it is not registered. `scope` is for a `type` that names no scope."""
    kind = dataset["type"]
    if not isinstance(kind, str):
        return kind
    with DATASETS.switch_scope_and_registry(scope or "mmdet") as registry:
        return registry.get(kind)


def data_classes(dataset: dict, scope: str | None) -> tuple[str, ...] | None:
    """The class names in a data set's config, or else in its class; `None` if neither has them.

    Raises:
        ValueError: `metainfo.classes` is a string, and there is no file of that name.
    """
    kind = data_set_class(dataset, scope) if "type" in dataset else None
    metainfo = dataset.get("metainfo") or {}
    if kind and hasattr(kind, "_load_metainfo"):  # a `BaseDataset`; it reads a file of names
        metainfo = kind._load_metainfo(metainfo)
    classes = metainfo.get("classes")
    if isinstance(classes, str):
        raise ValueError(
            f"metainfo.classes is the text {classes!r}, and there is no file of that name with one class per line: for "
            f"one class write classes=({classes!r},), with the comma"
        )
    return None if classes is None else tuple(classes)


def known_classes(config: Config) -> tuple[str, ...] | None:
    """Classes of a detector's training set; see `data_classes`."""
    dataset = innermost((config.get("train_dataloader") or {}).get("dataset", {}))
    return data_classes(dataset, config.get("default_scope"))


def find_metric(metrics: Mapping[str, float] | None, wanted: str = METRIC) -> tuple[str, float] | None:
    """Name and value of the first metric whose name ends with `wanted`; `None` if there is none."""
    if not metrics:  # MMDetection gives none if nothing was detected
        return wanted, 0.0
    return next(((name, value) for name, value in metrics.items() if name.endswith(wanted)), None)
