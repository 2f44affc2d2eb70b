"""What a data set's config says of its files."""

from pathlib import Path


def innermost(dataset: dict) -> dict:
    """The data set within wrappers such as `RepeatDataset`."""
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def annotation_file(dataset: dict) -> Path:
    """The annotation file of a dataset config, from within its wrappers."""
    dataset = innermost(dataset)
    return Path(dataset.get("data_root") or "") / dataset["ann_file"]
