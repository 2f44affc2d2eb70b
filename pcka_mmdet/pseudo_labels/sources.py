"""Where detections come from: detectors that run, or files of any framework."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.images import ImageSet
from pcka_mmdet.engine.cfg_options import merge_options

from .detect import detect, teacher_classes
from .detections import Detections, fuse
from .labelled import Labelled
from .results import read_classes, read_results


class Detectors:
    """Detectors of MMDetection; the boxes of several are fused. See `pseudo_label` for the arguments.

    What they find is kept in the folder `parts` as it comes, so that an interrupted run goes on.
    """

    def __init__(
        self, teachers: Sequence[tuple[str, str]], parts: Path, cfg_options: Mapping[str, Any], tta: bool = False
    ):
        self.teachers, self.parts, self.tta = teachers, parts, tta
        self.configs = [load_config(config) for config, _ in teachers]
        for config in self.configs:
            merge_options(config, cfg_options)

    def classes(self, labelled: Labelled | None) -> list[str]:
        return list(dict.fromkeys(name for config in self.configs for name in teacher_classes(config)))

    def on_labelled(self, labelled: Labelled) -> Detections:
        return self._on(labelled.images)

    def on_images(self, images: ImageSet, category_ids: Mapping[str, int]) -> Detections:
        return self._on(images)

    def description(self) -> object:
        return [dict(config=config, checkpoint=checkpoint) for config, checkpoint in self.teachers]

    def _on(self, images: ImageSet) -> Detections:
        found = []
        for config, (_, checkpoint) in zip(self.configs, self.teachers, strict=True):
            _, sha256 = read_weights(checkpoint, "checkpoint")
            text = [config.pretty_text, checkpoint, sha256, self.tta, str(images.root.resolve()), images.entries]
            key = hashlib.sha256(json.dumps(text).encode()).hexdigest()[:16]
            found.append(detect(config, checkpoint, images, self.parts / key, self.tta))
        return fuse(found, [teacher_classes(config) for config in self.configs])


class ResultFiles:
    """Files in COCO's results format.

    Args:
        of_images: Detections of the images to label.
        of_labelled: Those of the labelled images.
        class_map: JSON file; see `read_classes`.
    """

    def __init__(self, of_images: Path, of_labelled: Path | None = None, class_map: Path | None = None):
        self.of_images, self.of_labelled = of_images, of_labelled
        self.class_map = read_classes(class_map) if class_map else {}

    def classes(self, labelled: Labelled | None) -> list[str]:
        if labelled is not None:
            return list(labelled.category_ids)
        if not self.class_map:
            raise ValueError("--results with --threshold needs --classes MAP.json: the names of the classes")
        return list(dict.fromkeys(name for name in self.class_map.values() if name is not None))

    def on_labelled(self, labelled: Labelled) -> Detections:
        if self.of_labelled is None:
            raise ValueError(
                "the detections of the labelled images choose the thresholds: give --val-results FILE, or --threshold"
            )
        return read_results(self.of_labelled, labelled.images, labelled.category_ids, self.class_map)

    def on_images(self, images: ImageSet, category_ids: Mapping[str, int]) -> Detections:
        return read_results(self.of_images, images, category_ids, self.class_map)

    def description(self) -> object:
        return str(self.of_images)
