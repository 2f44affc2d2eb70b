"""Labelled images, which choose the thresholds."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import annotation_file, image_folder, innermost
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.images import ImageSet, read_images
from pcka_mmdet.engine.checks.annotations import category_names

GIVE_VAL = "give --val FILE.json:FOLDER, or --threshold SCORE"


@dataclass(frozen=True)
class Labelled:
    """Labelled images."""

    images: ImageSet
    annotations: Path
    """The file in COCO's format."""

    @cached_property
    def category_ids(self) -> dict[str, int]:
        """Ids of the classes, in the order of the file."""
        categories = json.loads(self.annotations.read_text())["categories"]
        return {category["name"]: category["id"] for category in categories}


def labelled_images(val: str | Path | Config | None) -> Labelled:
    """The images of a COCO file, `FILE.json:FOLDER`, or of the `val_dataloader` of a config.

    Raises:
        FileNotFoundError: A file or an image is missing.
        ValueError: There is neither; or the labels are not in COCO's format.
    """
    if val is None:
        raise ValueError(f"thresholds are chosen on labelled images: {GIVE_VAL}")
    source = str(val.filename if isinstance(val, Config) else val)
    if isinstance(val, Config) or (not source.endswith(".json") and ".json:" not in source):
        config = val if isinstance(val, Config) else load_config(source)
        if not config.get("val_dataloader"):
            raise ValueError(f"{source!r} has no val_dataloader: {GIVE_VAL}")
        dataset = innermost(config.val_dataloader.dataset)
        file = annotation_file(dataset)
        if file.suffix != ".json":
            raise ValueError(f"{str(file)!r}, the labels on val, are not in COCO's format: {GIVE_VAL}")
        source = f"{file}:{Path(image_folder(dataset))}"
    images = read_images(source)
    assert images.annotations is not None
    category_names(images.annotations)  # refuses a file without categories
    return Labelled(images, images.annotations)
