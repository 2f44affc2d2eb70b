"""Read the annotation path and the classes from a data set's config."""

import os
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmengine.utils import is_abs


def innermost(dataset: dict) -> dict:
    """The data set inside wrappers such as `RepeatDataset`."""
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def repeats(dataset: dict) -> int:
    """How often wrappers such as `RepeatDataset` show each image in an epoch."""
    times = 1
    while "dataset" in dataset:
        times *= dataset.get("times", 1)
        dataset = dataset["dataset"]
    return times


def annotation_path(dataset: dict) -> str:
    """File or URL of the annotations of the innermost data set, joined with `data_root` as MMEngine does."""
    dataset = innermost(dataset)
    path = str(dataset["ann_file"])
    return path if is_abs(path) else os.path.join(dataset.get("data_root") or "", path)


def annotation_file(dataset: dict) -> Path:
    """The annotation path as a local file."""
    return Path(annotation_path(dataset))


def data_set_class(dataset: dict, scope: str | None) -> type[BaseDataset] | None:
    """The class of a data set's config; `None` if none of that name is registered.

    Args:
        dataset: The config.
        scope: The scope of its type where the type names none: the config's `default_scope`.
    """
    kind = dataset["type"]
    if not isinstance(kind, str):
        return kind
    with DATASETS.switch_scope_and_registry(scope or "mmdet") as registry:
        return registry.get(kind)


def known_classes(config: Config) -> tuple[str, ...] | None:
    """Classes of a detector's training set, as its config or else its type states them; `None` if neither does."""
    dataset = innermost((config.get("train_dataloader") or {}).get("dataset", {}))
    stated = (dataset.get("metainfo") or {}).get("classes")
    if stated is None and "type" in dataset:
        stated = getattr(data_set_class(dataset, config.get("default_scope")), "METAINFO", {}).get("classes")
    return tuple(stated) if isinstance(stated, (list, tuple)) else None
