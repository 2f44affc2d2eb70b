"""Read the annotation path from a data set's config."""

import os
from pathlib import Path

from mmengine.utils import is_abs


def innermost(dataset: dict) -> dict:
    """The data set inside wrappers such as `RepeatDataset`."""
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def annotation_path(dataset: dict) -> str:
    """File or URL of the annotations of the innermost data set, joined with `data_root` as MMEngine does."""
    dataset = innermost(dataset)
    path = str(dataset["ann_file"])
    return path if is_abs(path) else os.path.join(dataset.get("data_root") or "", path)


def annotation_file(dataset: dict) -> Path:
    """The annotation path as a local file."""
    return Path(annotation_path(dataset))
