"""Errors that can be found before a training starts, and how to fix them."""

import json
import logging
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from pcka_mmdet.checkpoints.torchvision_weights import SCHEME, weights_url
from pcka_mmdet.configuration.data_set import annotation_file, annotation_path, data_set_class, innermost
from pcka_mmdet.configuration.detector import is_distillation, is_fpn_distill, last_name, model_config, teachers_of

STRATEGIES = ("DDPStrategy", "SingleDeviceStrategy")
"""MMEngine's strategies that do not shard the model."""

START_FROM = (
    "give a file (init_cfg=dict(type='Pretrained', checkpoint=FILE), or --cfg-options "
    "model.backbone.init_cfg.checkpoint=FILE), or start from random weights (model.backbone.init_cfg=None)"
)
"""What to do where initial weights are missing."""


def check_teacher_checkpoint(config: Config) -> None:
    """Refuse a distillation whose teacher would have random weights, or whose checkpoint is missing.

    Raises:
        SystemExit: `teacher_ckpt` is left out, or names a local file that does not exist.
    """
    if not is_fpn_distill(config):
        return
    for number, (_, path) in enumerate(teachers_of(config.model)):
        option = f"model.teachers.{number}.ckpt" if config.model.get("teachers") else "model.teacher_ckpt"
        if path is None:
            raise SystemExit(
                f"{option} is left out, so the teacher would have random weights. Name its checkpoint in the config or "
                f"by --cfg-options {option}=FILE_OR_URL; for random weights write 'random'"
            )
        if path != "random" and "://" not in path and not Path(path).expanduser().is_file():
            raise SystemExit(
                f"there is no teacher's checkpoint at {path!r} (the current directory is {Path.cwd()}): name a file or "
                f"a URL in {option}, or by --teacher-ckpt"
            )


def check_strategy(config: Config) -> None:
    """Refuse to distil with a strategy that shards the model.

    Raises:
        SystemExit: The strategy of a `FlexibleRunner` is not in `STRATEGIES`.
    """
    name = last_name(config.strategy.type) if config.get("strategy") else STRATEGIES[0]
    if is_distillation(config) and name not in STRATEGIES:
        raise SystemExit(
            f"{name} does not distil: the teacher is not part of the model that it shards, so it would stay "
            f"on the CPU, and checkpoints would hold only parts of the student. Write {' or '.join(STRATEGIES)}, or "
            "leave out strategy and runner_type"
        )


def check_hooks(config: Config) -> None:
    """Refuse a hook of MMDetection that fails with MMRazor's algorithms, maybe late in the training.

    Raises:
        SystemExit: There is a `YOLOXModeSwitchHook`, and the model is neither a detector nor an `FPNDistill`.
    """
    hooks = [last_name(hook.get("type")) for hook in config.get("custom_hooks") or []]
    if "YOLOXModeSwitchHook" in hooks and is_distillation(config) and not is_fpn_distill(config):
        raise SystemExit(
            "YOLOXModeSwitchHook looks for the head at model.bbox_head or model.detector.bbox_head, and "
            f"{config.model.type} has neither: the training would fail num_last_epochs before its end. Distil with "
            "pcka_mmdet.FPNDistill, or leave the hook out of custom_hooks"
        )


def check_operators(config: Config | None = None) -> None:
    """Refuse to train on a GPU with an MMCV that was built without CUDA, whatever the config.

    Raises:
        SystemExit: torch sees a GPU, and mmcv has no CUDA operators.
    """
    if not torch.cuda.is_available():
        return
    from mmcv.ops import get_compiling_cuda_version

    if get_compiling_cuda_version() == "not available":
        raise SystemExit(
            "torch sees a GPU but mmcv has no CUDA operators (NMS, RoIAlign ...), so training would fail at the first "
            "of them. Either build mmcv with the CUDA toolkit that matches torch (FORCE_CUDA=1, see "
            "docs/install.md), or train on the CPU by CUDA_VISIBLE_DEVICES=''"
        )


def check_pretrained_weights(config: Config) -> None:
    """Refuse initial weights in a missing file, and `torchvision://` names that are not known.

    Raises:
        SystemExit: The config starts from such weights.
    """
    for weights in (str(value) for key, value in _walk(_student(config)) if key == "checkpoint"):
        if weights.startswith(SCHEME) and weights_url(weights) is None:
            raise SystemExit(
                f"the model starts from {weights!r}, which neither an installed torchvision nor MMEngine's list knows: "
                f"install the torchvision that has it, {START_FROM}"
            )
        if "://" not in weights and not Path(weights).expanduser().is_file():
            raise SystemExit(
                f"the model starts from {weights!r}, and there is no such file (the current directory is "
                f"{Path.cwd()}): {START_FROM}"
            )


def download_advice(config: Config, reason: object) -> str:
    """What to do without a network: about data that their class would fetch (CIFAR), else about initial weights.

    Args:
        config: The config of the training.
        reason: Why the download failed.
    """
    dataset = innermost(config.train_dataloader.dataset)
    kind, root = data_set_class(dataset, config.get("default_scope")), dataset.get("data_root")
    archive = getattr(kind, "filename", None)
    if archive is None or (Path(root) / getattr(kind, "base_folder", "")).is_dir():
        return (
            f"weights that the config names cannot be downloaded ({reason}). Without a network, {START_FROM}; make "
            "demo-bccd takes WEIGHTS=FILE"
        )
    return (
        f"the data set {kind.__name__} is not in {str(root)!r}, and cannot be downloaded ({reason}). Without a "
        f"network, put {archive} there: it is at {kind.url}"
    )


def check_annotations(config: Config) -> None:
    """Refuse annotation files that are missing, or whose classes are not those of the data set and the head.

    It reads the categories of local files in COCO's format, for MMDetection's data sets.

    Raises:
        SystemExit: A file is missing or lacks a class, or the head has another number of classes.
    """
    heads = head_classes(_student(config))
    for loader in ("train_dataloader", "val_dataloader"):
        for key, value in _walk(config.get(loader) or {}):
            for dataset in value if key == "datasets" else [value] if key == "dataset" else []:
                if isinstance(dataset, dict) and dataset.get("ann_file"):
                    _check_data_set(loader, dataset, heads, config.get("default_scope"))


def head_classes(model: dict) -> set[int]:
    """`num_classes` of the box heads in a model dict; empty for a model that reads its classes as text."""
    if "language_model" in model:
        return set()
    found = (value for key, value in _walk(model) if key == "bbox_head")
    heads = [head for value in found for head in (value if isinstance(value, list) else [value])]
    return {head["num_classes"] for head in heads if "num_classes" in head}


def data_classes(dataset: dict, scope: str | None = None) -> tuple[str, ...] | None:
    """The class names of a data set's config; `None` where they come from the annotations.

    Args:
        dataset: The config.
        scope: The scope of its type where the type names none: the config's `default_scope`.

    Raises:
        SystemExit: `metainfo.classes` is a string, and there is no file of that name.
    """
    kind = data_set_class(dataset, scope)
    if not hasattr(kind, "_load_metainfo"):  # several data sets in one, or no `BaseDataset`
        return None
    classes = kind._load_metainfo(dataset.get("metainfo")).get("classes")
    if isinstance(classes, str):
        raise SystemExit(
            f"metainfo.classes is the text {classes!r}, and there is no file of that name with one class per line: for "
            f"one class write classes=({classes!r},), with the comma"
        )
    return None if classes is None else tuple(classes)


def _is_coco(kind: type[BaseDataset] | None) -> bool:
    """Whether it is MMDetection's data set in COCO's format; MMDetection, which may be absent, is not imported.

    The panoptic one is excluded: some of its classes are not objects, and no box head has them.
    """
    names = [base.__name__ for base in getattr(kind, "__mro__", ()) if base.__module__.startswith("mmdet.")]
    return "CocoDataset" in names and "CocoPanopticDataset" not in names


def _check_data_set(loader: str, dataset: dict, heads: set[int], scope: str | None) -> None:
    path = annotation_file(dataset)
    if "://" in annotation_path(dataset) or dataset.get("backend_args"):
        return
    if not path.is_file():
        raise SystemExit(
            f"{loader}: no annotation file at {str(path)!r} (the current directory is {Path.cwd()}): set "
            f"{loader}.dataset.data_root and ann_file"
        )
    if path.suffix != ".json" or not _is_coco(data_set_class(dataset, scope)):
        return
    classes = data_classes(dataset, scope)
    if classes is None:
        return
    if not path.stat().st_size:
        raise SystemExit(f"{loader}: the annotation file {str(path)!r} is empty: make or copy it again")
    known = _category_names(path)
    lacking = [name for name in classes if name not in known]
    if lacking:
        raise SystemExit(
            f"{loader}: {str(path)!r} has no category {lacking}; it has {known}. Set {loader}.dataset.metainfo="
            "dict(classes=(...)) to the names in the file, and num_classes of the head to their number"
        )
    order = [name for name in known if name in classes]
    if order != list(classes):
        print_log(
            f"{loader}: labels are numbered in the order of {str(path)!r}, {order}, and metainfo.classes is "
            f"{list(classes)}: names beside detections would be wrong. Write the classes in the order of the file",
            "current",
            level=logging.WARNING,
        )
    if heads and heads != {len(classes)}:
        raise SystemExit(
            f"{loader} has {len(classes)} classes {list(classes)}, and the bbox_head num_classes={sorted(heads)}: set "
            f"num_classes of the student's head to {len(classes)}"
        )


def _category_names(path: Path) -> list[str]:
    """Names of the categories in a file of COCO's format, if possible without parsing all of it (COCO: 450 MB)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = re.search(rb'"categories"\s*:\s*', text)
        start = found.end() if found else 0
        beginning = text[start : start + 1_000_000].decode(errors="ignore")
    try:
        return [category["name"] for category in json.JSONDecoder().raw_decode(beginning)[0]]
    except (json.JSONDecodeError, KeyError, TypeError):  # very many categories, or another key named so
        return [category["name"] for category in json.loads(path.read_text()).get("categories", [])]


def _student(config: Config) -> dict:
    """The model dict of the detector that is trained."""
    return model_config(config.model.architecture) if is_distillation(config) else config.model


def _walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value within nested dicts and lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _walk(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _walk(value)


CHECKS = {
    "the teacher's checkpoint": check_teacher_checkpoint,
    "strategy": check_strategy,
    "hooks": check_hooks,
    "operators of mmcv": check_operators,
    "initial weights": check_pretrained_weights,
    "annotations and classes": check_annotations,
}
"""All of them by subject."""


def check_all(config: Config) -> None:
    """Run all checks. Raises what they raise."""
    for check in CHECKS.values():
        check(config)
