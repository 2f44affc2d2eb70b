"""What can be told to be wrong before a training starts, and how to mend it."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config


def check_teacher_checkpoint(config: Config) -> None:
    """Refuse a distillation whose teacher would have random weights.

    Raises:
        SystemExit: `teacher_ckpt` is left out.
    """
    if _last_name(config.model.get("type")) == "FPNDistill" and config.model.get("teacher_ckpt") is None:
        raise SystemExit(
            "model.teacher_ckpt is left out, so the teacher would have random weights. Name its checkpoint in the "
            "config or by --cfg-options model.teacher_ckpt=FILE_OR_URL; where random weights are meant, write 'random'"
        )


def check_operators() -> None:
    """Refuse to train on a GPU with an MMCV that was built without CUDA.

    Raises:
        SystemExit: torch sees a GPU, and mmcv has no CUDA operators.
    """
    if not torch.cuda.is_available():
        return
    from mmcv.ops import get_compiling_cuda_version

    if get_compiling_cuda_version() == "not available":
        raise SystemExit(
            "torch sees a GPU but mmcv has no CUDA operators (NMS, RoIAlign ...), so training would fail at the first "
            "of them. Either build mmcv with the CUDA toolkit that matches torch (FORCE_CUDA=1, see 'A GPU machine' in "
            "README.md), or train on the CPU by CUDA_VISIBLE_DEVICES=''"
        )


def check_pretrained_weights(config: Config) -> None:
    """Refuse `torchvision://` weights where torchvision is not installed.

    Raises:
        SystemExit: The config initialises from torchvision, which cannot be imported.
    """
    wanted = [
        value for key, value in _walk(config.model) if key == "checkpoint" and str(value).startswith("torchvision://")
    ]
    if wanted and importlib.util.find_spec("torchvision") is None:
        raise SystemExit(
            f"the student starts from {wanted[0]!r}, which needs torchvision, which is not installed: pip install the "
            "torchvision that matches your torch, or give a file of your own "
            "(init_cfg=dict(type='Pretrained', checkpoint=FILE))"
        )


def check_annotations(config: Config) -> None:
    """Refuse annotation files that are missing or know none of the classes that the config trains.

    Only files of `CocoDataset` are read, and of these only the categories.

    Raises:
        SystemExit: A file is missing, or lacks a class of `metainfo`.
    """
    for loader in ("train_dataloader", "val_dataloader"):
        for key, dataset in _walk(config.get(loader) or {}):
            if key != "dataset" or not isinstance(dataset, dict) or "ann_file" not in dataset:
                continue
            path = Path(dataset.get("data_root") or "") / dataset["ann_file"]
            if "://" in str(dataset["ann_file"]) or dataset.get("backend_args"):
                continue
            if not path.is_file():
                raise SystemExit(
                    f"{loader}: no annotation file at {str(path)!r} (the current directory is {Path.cwd()}): set "
                    f"{loader}.dataset.data_root and ann_file"
                )
            classes = (dataset.get("metainfo") or {}).get("classes")
            if dataset.get("type") != "CocoDataset" or classes is None:
                continue
            known = [category["name"] for category in json.loads(path.read_text()).get("categories", [])]
            lacking = [name for name in classes if name not in known]
            if lacking:
                raise SystemExit(
                    f"{loader}: {str(path)!r} has no category {lacking}; it has {known}. Set metainfo.classes to the "
                    "names in the file, and num_classes of the head to their number"
                )


def _walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value within nested dicts and lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _walk(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _walk(value)


def _last_name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]
