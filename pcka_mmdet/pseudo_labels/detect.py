"""Run a detector over images, and keep its detections as they come, so that an interrupted run goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.config import Config
from mmengine.dist import barrier, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.configuration.data_set import data_classes, innermost
from pcka_mmdet.configuration.images import ImageSet
from pcka_mmdet.engine.checks.annotations import label_order
from pcka_mmdet.engine.runner import build_runner
from pcka_mmdet.engine.testing import config_of_test, run_test, use_tta

from .detections import Detection, Detections

TTA_SCALES = (1.0, 1.5)
"""Sizes of an image with test-time augmentation, over the test pipeline's."""


class DetectionWriter(Hook):
    """Appends the detections of each batch to a file of this process in a folder, one line an image."""

    def __init__(self, folder: Path):
        self.file = folder / f"{get_rank()}_{uuid4().hex}.jsonl"  # no process ids: those of containers repeat

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        with self.file.open("a") as file:
            for sample in outputs:
                found = sample.pred_instances
                boxes = found.bboxes.tensor if hasattr(found.bboxes, "tensor") else found.bboxes
                rows = zip(boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
                file.write(json.dumps([sample.img_id, list(rows)]) + "\n")


def teacher_classes(config: Config) -> tuple[str, ...]:
    """Names of the classes that a detector tells apart, in the order of its labels.

    Raises:
        ValueError: Its config states none.
    """
    dataset = innermost((config.get("test_dataloader") or {}).get("dataset") or {})
    classes = label_order(config, ("train_dataloader", "val_dataloader"))
    classes = classes or data_classes(dataset, config.get("default_scope"))
    if classes is None:
        raise ValueError(
            "the teacher's config does not say which classes it tells apart: set test_dataloader.dataset.metainfo="
            "dict(classes=(...)), in the order of its training"
        )
    return classes


def detect(config: Config, checkpoint: str, images: ImageSet, folder: Path, tta: bool = False) -> Detections:
    """What a detector finds in images. All processes of a launcher share the work.

    Args:
        config: The detector's; its test pipeline reads the images.
        checkpoint: Its weights, in any form that `pcka-mmdet test` takes.
        folder: Folder of what is found as it comes. What an interrupted run left there is not done again.
        tta: Whether each image is seen at `TTA_SCALES`, and mirrored.

    Raises:
        FileNotFoundError: The checkpoint is missing.
        ValueError: The config has no test pipeline or classes, or the checkpoint is not of its detector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes, annotations = teacher_classes(config), folder / "images.json"
    runner = _runner(config, checkpoint, images.root, classes, annotations, tta)
    if is_main_process():  # after the runner has joined the processes
        done = _read(folder)
        left = [entry for entry in images.entries if entry["id"] not in done]
        categories = [dict(id=number, name=name) for number, name in enumerate(classes, 1)]
        write_json(annotations, dict(images=left, annotations=[], categories=categories))
    barrier()
    if json.loads(annotations.read_text())["images"]:
        run_test(runner, DetectionWriter(folder))
    barrier()
    found = _read(folder)
    return {entry["id"]: [_detection(row, classes) for row in found[entry["id"]]] for entry in images.entries}


def _runner(
    config: Config, checkpoint: str, root: Path, classes: Sequence[str], annotations: Path, tta: bool
) -> Runner:
    config = config_of_test(config, checkpoint)
    if not config.get("test_dataloader"):
        raise ValueError("the teacher's test pipeline reads the images, and its config has no test_dataloader")
    config.test_dataloader.dataset = dict(
        type="mmdet.CocoDataset",
        ann_file=str(annotations.resolve()),
        data_prefix=dict(img=str(root.resolve())),
        metainfo=dict(classes=tuple(classes)),
        pipeline=innermost(config.test_dataloader.dataset)["pipeline"],
        test_mode=True,
    )
    config.test_cfg, config.test_evaluator, config.work_dir = dict(type="TestLoop"), [], str(annotations.parent)
    config.visualizer = dict(type="mmengine.Visualizer")  # the folder of another run's would be gone
    if tta:
        use_tta(config, TTA_SCALES)
    config.experiment_name = config.work_dir  # a name of the same second would share the logger of another runner
    level, config.log_level = config.get("log_level", "INFO"), "WARNING"  # environment and hooks are not logged
    runner = build_runner(config)
    for logs in (runner.logger, *runner.logger.handlers):
        logs.setLevel(level)
    return runner


def _read(folder: Path) -> dict[int | str, list]:
    """Rows `(corners, score, label)` by image, of all processes. The last line of a killed one may be cut."""
    lines = (line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines(keepends=True))
    return dict(json.loads(line) for line in lines if line.endswith("\n"))


def _detection(row: tuple, classes: Sequence[str]) -> Detection:
    (left, top, right, bottom), score, label = row
    return Detection((left, top, right - left, bottom - top), score, classes[label])
