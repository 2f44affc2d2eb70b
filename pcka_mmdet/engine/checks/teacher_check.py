"""Evaluate the teacher on the student's validation data before the training starts."""

import copy
import gc
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import get_text
from mmengine.logging import print_log
from torch import nn

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.files import is_missing, read_weights
from pcka_mmdet.checkpoints.matching import summarise
from pcka_mmdet.configuration.data_set import (
    METRIC,
    all_innermost,
    annotation_path,
    data_classes,
    evaluators,
    find_metric,
    innermost,
)
from pcka_mmdet.configuration.detector import model_config
from pcka_mmdet.configuration.distillation import teachers_of
from pcka_mmdet.models.initial_weights import load_strictly
from pcka_mmdet.models.sources import stages
from pcka_mmdet.models.teacher import size_divisor

from ..runner import build_runner, unwrapped_model
from .annotations import head_classes

DEFAULTS = dict(metric=METRIC, at_least=0.05)
"""Options of the config's `teacher_check`: the end of the metric's name, and the lowest value that is accepted."""


def check_options(config: Config) -> dict[str, Any]:
    """The config's `teacher_check`, with `DEFAULTS` for what it leaves out.

    Raises:
        ValueError: It has other options.
    """
    given = config.get("teacher_check") or {}
    if unknown := sorted(given.keys() - DEFAULTS.keys()):
        raise ValueError(f"teacher_check has the options {sorted(DEFAULTS)}, and no {unknown}")
    return {**DEFAULTS, **given}


def check_classes_of_weights(teacher: nn.Module, checkpoint: str) -> None:
    """Refuse weights whose head has another number of classes than the teacher's config.

    Args:
        teacher: The teacher, as its config says.
        checkpoint: File or URL of its weights. One that is missing is left to `check_teacher_checkpoint`.

    Raises:
        ValueError: The numbers differ, or the file cannot be read.
    """
    classes = num_classes(teacher)
    if checkpoint in (None, "random") or is_missing(checkpoint) or classes is None:
        return
    weights, _ = read_weights(checkpoint)
    for key, value in teacher.state_dict().items():
        if "cls" not in key or not value.ndim or key not in weights or weights[key].shape[:1] == value.shape[:1]:
            continue
        given = _classes_of_outputs(len(weights[key]), len(value), classes) if weights[key].ndim else None
        if given is None:
            continue
        head = "roi_head.bbox_head" if key.startswith("roi_head") else "bbox_head"
        raise ValueError(
            f"the teacher's config has {classes} classes, and its weights {checkpoint!r} have {given}: give the config "
            f"of their training, or write --cfg-options model.teacher.{head}.num_classes={given}. --recipe maps takes "
            "the weights without their head, and compares neck maps alone"
        )


def _classes_of_outputs(given: int, expected: int, classes: int) -> int | None:
    """The number of classes of a layer with `given` outputs, where `expected` outputs are for `classes`; `None` if they
    are not a multiple of the classes, with or without a background."""
    for background in (0, 1):
        each, rest = divmod(expected, classes + background)
        if rest == 0 and given % each == 0:
            return given // each - background
    return None


def num_classes(detector: nn.Module) -> int | None:
    """Number of classes that a detector tells apart."""
    roi_head = getattr(detector, "roi_head", None)
    head = getattr(detector, "bbox_head", None) if roi_head is None else stages(roi_head, "bbox_head")[0]
    return getattr(head, "num_classes", None)


def check_teacher(config: Config, images: int | None) -> list[float]:
    """Evaluate each teacher, head included, on the student's first validation images, by the student's own evaluator.

    Args:
        config: The config of a distillation.
        images: How many images; `None` takes all.

    Returns:
        The metric of each teacher.

    Raises:
        ValueError: The config is not a distillation, the checkpoint does not match the teacher and its head, or the
            metric is missing or too low.
    """
    if not {"teacher", "teachers"} & config.model.keys():
        raise ValueError("--check-teacher needs the config of a distillation, or --teacher; this one has no teacher")
    return [_check(config, images, *teacher) for teacher in teachers_of(config.model)]


def _check(config: Config, images: int | None, teacher: str | dict, checkpoint: str) -> float:
    wanted = check_options(config)
    evaluation = _evaluation(config, images, teacher, wanted["metric"])
    heads = head_classes(evaluation.model)
    classes = data_classes(innermost(evaluation.val_dataloader.dataset), evaluation.get("default_scope"))
    if heads and classes is not None and heads != {len(classes)}:
        raise ValueError(
            f"--check-teacher: the teacher's head has num_classes={sorted(heads)}, and the validation data have "
            f"{len(classes)} classes {list(classes)[:5]}: its AP here would mean nothing. Leave --check-teacher out, "
            "and distil neck maps alone: losses on the head's outputs need its classes"
        )
    runner = build_runner(evaluation)
    detector = unwrapped_model(runner).eval()
    detector.data_preprocessor.pad_size_divisor = size_divisor(detector)  # the pipeline is the student's
    _, problems = load_strictly(detector, checkpoint)
    if problems:
        raise ValueError(
            f"--check-teacher runs the teacher's head, which {checkpoint!r} does not hold in full: "
            f"{summarise(problems)}. Set num_classes in the teacher's config to the number that it was trained with"
        )
    metrics = runner.val()
    found = find_metric(metrics, wanted["metric"])
    count = len(runner.val_loop.dataloader.dataset)
    del runner, detector
    gc.collect()  # they refer to each other, and would stay in a GPU's memory beside the training
    if found is None:
        raise ValueError(
            f"the evaluation gives {sorted(metrics)}, and none ends with {wanted['metric']!r}: name one in the config, "
            "teacher_check=dict(metric=..., at_least=...)"
        )
    name, value = found
    which = f"all {count}" if images is None else f"the first {count}"
    said = f"the teacher's {name} on {which} validation images is {value:.3f}"
    if not value >= wanted["at_least"]:
        raise ValueError(
            f"{said}, below {wanted['at_least']}. Do checkpoint and config belong together? Are its classes in the "
            "order of this data set? Is its normalisation the one of its training? To use this teacher all the same, "
            "set teacher_check=dict(at_least=...) in the config"
        )
    print_log(said, "current")
    return value


def _evaluation(config: Config, images: int | None, teacher: str | dict, metric: str) -> Config:
    """The config of a validation of the teacher on the first images, or on all, that gives the metric."""
    if not config.get("val_dataloader"):
        raise ValueError(
            "--check-teacher needs a val_dataloader with the images to evaluate the teacher on; there is none"
        )
    kept = (
        "val_dataloader",
        "val_evaluator",
        "val_cfg",
        "env_cfg",
        "default_scope",
        "launcher",
        "custom_imports",
        "log_level",
    )
    evaluation = Config(copy.deepcopy({key: config[key] for key in kept if key in config}))
    evaluation.model = model_config(teacher)
    half = (evaluation.get("val_cfg") or {}).get("fp16", False)
    evaluation.val_cfg = dict(type="ValLoop", fp16=half)  # MMRazor's loop needs a distiller
    metrics = evaluators(evaluation, "val_evaluator").values()
    for evaluator in metrics:
        kinds = evaluator.get("metric")
        if isinstance(kinds, (list, tuple)) and "bbox" in kinds:
            evaluator.metric = [kind for kind in kinds if kind != "segm" or "segm" in metric]  # it may have no masks
    evaluation.merge_from_dict(dict(experiment_name="teacher_check", work_dir=f"{config.work_dir}/teacher_check"))
    if images is None:
        return evaluation
    dataset, *others = all_innermost(evaluation.val_dataloader.dataset)
    if others or "ann_file" not in dataset:
        raise ValueError("--check-teacher needs a val_dataloader with one data set that has an ann_file")
    content = _read_json(annotation_path(dataset), dataset.get("backend_args"))
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        dataset.indices = images
        return evaluation
    # COCO's metric counts the objects of all images in its file, so it needs a shorter file
    subset = Path(evaluation.work_dir, "annotations.json").resolve()
    _write_subset(content, images, subset)
    for reader in [dataset, *metrics]:
        if "ann_file" in reader:
            reader.update(ann_file=str(subset), backend_args=None)  # of the annotations only; images have their own
    return evaluation


def _read_json(path: str, backend_args: dict | None) -> Any:
    """The content of a JSON file, by MMEngine's file backends; `None` for other files."""
    if not path.endswith(".json"):
        return None
    try:
        return json.loads(get_text(path, backend_args=backend_args))
    except (OSError, ImportError) as error:
        raise ValueError(f"--check-teacher cannot read the annotation file {path!r}: {error}") from error


def _write_subset(content: dict, images: int, subset: Path) -> None:
    content["images"] = content["images"][:images]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    write_json(subset, content)
