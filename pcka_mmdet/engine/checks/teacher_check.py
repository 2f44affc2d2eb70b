"""Check the classes of the teacher's weights, and evaluate the teacher on the student's validation data."""

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
from pcka_mmdet.configuration import data_set
from pcka_mmdet.configuration.detector import model_config
from pcka_mmdet.configuration.distillation import teachers_of
from pcka_mmdet.configuration.pipeline_size import enlarge_images
from pcka_mmdet.models.detector_parts import box_head, num_classes
from pcka_mmdet.models.initial_weights import load_strictly
from pcka_mmdet.models.teacher.images import size_divisor

from ..runner import build_runner, unwrapped_model
from .annotations import head_classes

DEFAULTS = dict(metric=data_set.METRIC, at_least=0.05)
"""Options of `teacher_check` in a config: the end of the metric's name, and the lowest accepted value."""

KEPT = ("env_cfg", "default_scope", "launcher", "custom_imports", "log_level")
"""Settings for the evaluation of the teacher, beside those that begin with `val_`."""


def check_options(config: Config) -> dict[str, Any]:
    """The config's `teacher_check`, completed by `DEFAULTS`; a ValueError refuses an unknown option."""
    options = {**DEFAULTS, **(config.get("teacher_check") or {})}
    if unknown := sorted(options.keys() - DEFAULTS.keys()):
        raise ValueError(f"teacher_check has the options {sorted(DEFAULTS)}, and no {unknown}")
    return options


def check_classes_of_weights(teacher: nn.Module, checkpoint: str) -> None:
    """A ValueError refuses weights whose head has another number of classes than the teacher. A missing file passes."""
    classes = num_classes(teacher)
    if checkpoint in (None, "random") or is_missing(checkpoint) or classes is None:
        return
    weights, _ = read_weights(checkpoint)
    scores = getattr(box_head(teacher), "cls_out_channels", classes + 1)  # a RoI head scores a background too
    for key, value in teacher.state_dict().items():
        if "cls" not in key or not value.ndim or key not in weights or not weights[key].ndim:
            continue
        anchors, rest = divmod(len(value), scores)
        if rest or len(weights[key]) % anchors:
            continue
        given = len(weights[key]) // anchors - (scores - classes)
        if given == classes:
            continue
        head = "roi_head.bbox_head" if key.startswith("roi_head") else "bbox_head"
        raise ValueError(
            f"the teacher's config has {classes} classes, and its weights {checkpoint!r} have {given}: give the config "
            f"of their training, write --cfg-options model.teacher.{head}.num_classes={given}, or compare only neck "
            "maps by --recipe maps"
        )


def check_teacher(config: Config, images: int | None) -> list[float]:
    """The metric of each teacher, with its head, on the student's first validation images, or on all (`None`).

    Raises:
        ValueError: The config is not a distillation, the checkpoint does not match the teacher and its head, or the
            metric is missing or too low.
    """
    if not {"teacher", "teachers"} & config.model.keys():
        raise ValueError("--check-teacher needs the config of a distillation, or --teacher; this one has no teacher")
    return [_check(config, images, *teacher) for teacher in teachers_of(config.model)]


def _check(config: Config, images: int | None, teacher: str | dict, checkpoint: str) -> float:
    options = check_options(config)
    evaluation = _evaluation(config, images, teacher, options["metric"])
    heads = head_classes(evaluation.model)
    dataset = data_set.innermost(evaluation.val_dataloader.dataset)
    classes = data_set.data_classes(dataset, evaluation.get("default_scope"))
    if heads and classes is not None and heads != {len(classes)}:
        raise ValueError(
            f"--check-teacher: the teacher's head has num_classes={sorted(heads)}, and the validation data have "
            f"{len(classes)} classes {list(classes)[:5]}: leave --check-teacher out, and distil only neck maps"
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
    count = len(runner.val_loop.dataloader.dataset)
    del runner, detector
    gc.collect()  # they refer to each other, and would stay in a GPU's memory beside the training
    metric = data_set.find_metric(metrics, options["metric"])
    if metric is None:
        raise ValueError(
            f"the evaluation gives {sorted(metrics)}, and none ends with {options['metric']!r}: name one by "
            "teacher_check=dict(metric=..., at_least=...)"
        )
    name, value = metric
    which = f"all {count}" if images is None else f"the first {count}"
    text = f"the teacher's {name} on {which} validation images is {value:.3f}"
    if not value >= options["at_least"]:
        raise ValueError(
            f"{text}, below {options['at_least']}. Do checkpoint and config belong together? Are its classes in the "
            "order of this data set? Is its normalisation that of its training? To use it nevertheless, set "
            "teacher_check=dict(at_least=...) in the config"
        )
    print_log(text, "current")
    return value


def _evaluation(config: Config, images: int | None, teacher: str | dict, metric: str) -> Config:
    if not config.get("val_dataloader"):
        raise ValueError("--check-teacher needs a val_dataloader to evaluate the teacher on; there is none")
    evaluation = Config(copy.deepcopy({key: config[key] for key in config if key in KEPT or key.startswith("val_")}))
    evaluation.model = model_config(teacher)
    if (scale := config.model.get("teacher_scale", 1)) > 1:
        enlarge_images(evaluation.val_dataloader.dataset, scale)
    half = (evaluation.get("val_cfg") or {}).get("fp16", False)
    evaluation.val_cfg = dict(type="ValLoop", fp16=half)  # MMRazor's loop needs a distiller
    for evaluator in data_set.by_place(evaluation, "val_evaluator").values():
        kinds = evaluator.get("metric")
        if isinstance(kinds, (list, tuple)) and "bbox" in kinds:
            evaluator.metric = [kind for kind in kinds if kind != "segm" or "segm" in metric]  # it may have no masks
    evaluation.merge_from_dict(dict(experiment_name="teacher_check", work_dir=f"{config.work_dir}/teacher_check"))
    if images is not None:
        _limit(evaluation, images)
    return evaluation


def _limit(evaluation: Config, images: int) -> None:
    dataset, *rest = data_set.all_innermost(evaluation.val_dataloader.dataset)
    if rest or "ann_file" not in dataset:
        raise ValueError("--check-teacher needs a val_dataloader with one data set that has an ann_file")
    path, content = data_set.annotation_path(dataset), None
    if path.endswith(".json"):
        try:
            content = json.loads(get_text(path, backend_args=dataset.get("backend_args")))
        except (OSError, ImportError) as error:
            raise ValueError(f"--check-teacher cannot read the annotation file {path!r}: {error}") from error
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        dataset.indices = images
        return
    # COCO's metric counts the objects of all images in its file, so it needs a shorter file
    content["images"] = content["images"][:images]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [box for box in content["annotations"] if box["image_id"] in ids]
    subset = Path(evaluation.work_dir, "annotations.json").resolve()
    write_json(subset, content)
    for reader in (dataset, *data_set.by_place(evaluation, "val_evaluator").values()):
        if "ann_file" in reader:
            reader.update(ann_file=str(subset), backend_args=None)  # of the annotations; images keep `backend_args`
