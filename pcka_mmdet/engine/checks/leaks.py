"""Whether extra images of a training are those of val or test."""

import filecmp
import json
import os
from collections.abc import Iterator

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import image_folder, image_name
from pcka_mmdet.configuration.images import ImageSet

from .annotations import DataSet, data_sets


def refuse_leaks(config: Config, images: ImageSet) -> list[str]:
    """Refuse extra images of val or test, and copies with the same name. Those that are labelled in train are a doubt.

    Raises:
        ValueError: An image is in the data set of val or test.
    """
    files, doubts = {os.path.realpath(images.root / entry["file_name"]) for entry in images.entries}, []
    for loader in ("val_dataloader", "test_dataloader", "train_dataloader"):
        for data in data_sets(config, [loader]):
            shared = _shared(files, set(_image_files(data)))
            if shared and loader != "train_dataloader":
                raise ValueError(
                    f"{len(shared)} extra images are also in {loader}, such as {min(shared)!r}: its AP would be that "
                    "of images seen in the training; take them out"
                )
            if shared:
                doubts.append(f"{len(shared)} extra images are also labelled images, such as {min(shared)!r}")
    return doubts


def _shared(files: set[str], others: set[str]) -> set[str]:
    """The files that are among the others, or have the name and the content of one."""
    by_name = {os.path.basename(other): other for other in others}
    pairs = ((file, by_name.get(os.path.basename(file))) for file in files - others)
    copies = {
        file for file, other in pairs if other and os.path.isfile(other) and filecmp.cmp(file, other, shallow=False)
    }
    return files & others | copies


def _image_files(data: DataSet) -> Iterator[str]:
    if data.path.suffix != ".json" or not data.path.is_file():
        return
    images, chosen = json.loads(data.path.read_text()).get("images", []), data.config.get("indices")
    if isinstance(chosen, int) and not data.config.get("filter_cfg"):  # a filter comes before it
        images = images[:chosen] if chosen >= 0 else images[chosen:]
    for image in images:
        yield os.path.realpath(os.path.join(image_folder(data.config), image_name(image)))
