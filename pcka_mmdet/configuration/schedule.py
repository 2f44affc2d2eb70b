"""The number of iterations of a config, and changing its number of epochs."""

import json
import math

from mmengine.config import Config

from .data_set import all_innermost, annotation_file, by_place, labelled_part, repeats
from .nested import replaced

SCHEDULER_TIMES = {"begin", "end", "total_steps", "T_max", "milestones"}
HOOK_TIMES = {"begin_epoch", "stop_epoch", "switch_epoch", "num_last_epochs", "stop"}
"""Settings that scale with the length of the training. `stop`, of `LossScheduleHook`, counts iterations."""


def training_iterations(config: Config) -> int:
    """Iterations of the whole training: epochs times batches per epoch."""
    loader = config.train_dataloader
    dataset = labelled_part(loader)
    images = num_images(dataset) * repeats(dataset)
    return iterations(images, loader.batch_size, config.train_cfg.max_epochs)


def iterations(images: int, batch_size: int, epochs: int, processes: int = 1) -> int:
    """Iterations in which each process takes its share of the images, in batches of which the last may be smaller."""
    return math.ceil(math.ceil(images / processes) / batch_size) * epochs


def num_images(dataset: dict) -> int:
    """Images in files of COCO's format (with boxes, if `filter_empty_gt` is set), or lines of a classifier's lists; at
    most those of `indices`."""
    return sum(map(_num_images, all_innermost(dataset)))


def _num_images(dataset: dict) -> int:
    path = annotation_file(dataset)
    text = path.read_text()
    if path.suffix == ".txt":
        images = len(text.splitlines())
    elif (dataset.get("filter_cfg") or {}).get("filter_empty_gt", False):
        images = len({annotation["image_id"] for annotation in json.loads(text)["annotations"]})
    else:
        images = len(json.loads(text)["images"])
    return used_images(dataset, images)


def used_images(dataset: dict, images: int) -> int:
    """How many images of a file with so many a data set reads: at most those of `indices`."""
    chosen = dataset.get("indices")
    if chosen is None:
        return images
    return min(abs(chosen), images) if isinstance(chosen, int) else len(chosen)


def set_epochs(config: Config, epochs: int) -> None:
    """Set the number of epochs, and scale the schedules with it; a ValueError refuses a number below 1."""
    if epochs < 1:
        raise ValueError(f"epochs={epochs!r} should be at least 1; write for instance epochs=20")
    factor = epochs / config.train_cfg.max_epochs

    def scaled(number: int) -> int:
        return max(1, round(number * factor)) if number else 0

    config.train_cfg.max_epochs = epochs
    if "max_epochs" in config:
        config.max_epochs = epochs
    by_epoch = [one for one in by_place(config, "param_scheduler").values() if one.get("by_epoch", True)]
    for settings in [*by_epoch, *(config.get("custom_hooks") or [])]:
        for key in settings.keys() & (SCHEDULER_TIMES | HOOK_TIMES):
            settings[key] = replaced(settings[key], scaled, int)
