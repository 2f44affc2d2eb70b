"""What a data set's config says of its files."""

import os
from pathlib import Path

from mmengine.utils import is_abs


def innermost(dataset: dict) -> dict:
    """The data set within wrappers such as `RepeatDataset`."""
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def annotation_path(dataset: dict) -> str:
    """File or URL of the annotations of a dataset config, from within its wrappers; joined as MMEngine does it."""
    dataset = innermost(dataset)
    path = str(dataset["ann_file"])
    return path if is_abs(path) else os.path.join(dataset.get("data_root") or "", path)


def annotation_file(dataset: dict) -> Path:
    """The same where it is known to be a local file."""
    return Path(annotation_path(dataset))
