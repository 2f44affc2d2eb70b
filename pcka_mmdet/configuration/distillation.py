"""Student and teachers in the config of a distillation."""

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from .detector import model_config
from .nested import last_name

STUDENT_CONFIG = "student_config.py"
"""The file of the student's config in the work directory of a distillation."""

RECIPE_SETTINGS = ("distiller", "balance", "teacher_precision")
"""Settings of `FPNDistill` that a recipe has; see `pcka_mmdet.models.recipes`."""

TEACHER_OPTIONS = ("ckpt", "since", "until", "weight")
"""Keys of an entry of `FPNDistill(teachers=...)` that are no part of the teacher's model."""


def is_distillation(config: Config) -> bool:
    """Whether a config's model is a distillation: `FPNDistill` or an algorithm of MMRazor's."""
    return "architecture" in config.get("model", {})


def is_fpn_distill(config: Config) -> bool:
    """Whether a config's model is an FPNDistill."""
    return last_name(config.get("model", {}).get("type")) == "FPNDistill"


def student_model(config: Config) -> dict:
    """The model dict of the detector that is trained; a ValueError refuses a config without a `model`."""
    if "model" not in config:
        raise ValueError(f"the config {str(config.filename)!r} defines no `model`: give the config of a detector")
    return model_config(config.model.architecture) if is_distillation(config) else config.model


def teachers_of(model: dict) -> list[tuple[Any, str | None]]:
    """The teachers in the model of a distillation, each with its checkpoint."""
    if not model.get("teachers"):
        return [(model.get("teacher"), model.get("teacher_ckpt"))]
    return [(spec, options.get("ckpt")) for spec, options in map(split_teacher, model["teachers"])]


def split_teacher(entry: Mapping[str, Any]) -> tuple[dict, dict]:
    """An entry of `FPNDistill(teachers=...)` as the teacher's model and the options beside it."""
    options = {key: entry[key] for key in TEACHER_OPTIONS if key in entry}
    return {key: value for key, value in entry.items() if key not in options}, options


def write_out_sides(model: dict) -> None:
    """Replace config files by model dicts in the model of a distillation. Raises what `model_config` raises."""
    for side in ("architecture", "teacher"):
        if model.get(side) is not None:
            model[side] = model_config(model[side])
    if model.get("teachers"):
        sides = map(split_teacher, model["teachers"])
        model["teachers"] = [{**model_config(spec), **options} for spec, options in sides]


def self_contained(config: Config) -> Config:
    """A copy of a distillation's config that needs no config files of student and teachers; another config as it is."""
    if not is_distillation(config):
        return config
    config = copy.deepcopy(config)
    write_out_sides(config.model)
    return config


def write_out_mmrazor_detectors(config: Config) -> None:
    """Replace `cfg_path`, in place, by the model dict where MMRazor would build another detector.

    MMRazor supports only `dict(cfg_path='mmdet::...', pretrained=...)`. It silently drops overrides of keys that the
    model has, and fails on a local path. A ValueError refuses `pretrained` beside either.
    """
    if is_distillation(config) and not is_fpn_distill(config):
        config.model = _written_out(config.model)


def _written_out(node: Any) -> Any:
    if isinstance(node, list):
        return [_written_out(value) for value in node]
    if not isinstance(node, dict):
        return node
    if "cfg_path" not in node or "type" in node:
        return ConfigDict({key: _written_out(value) for key, value in node.items()})
    if "::" in node["cfg_path"] and node.keys() <= {"cfg_path", "pretrained"}:
        return node  # MMRazor builds it, and loads the published weights if `pretrained` is set
    if node.get("pretrained"):
        raise ValueError(
            f"pretrained=True beside {sorted(node.keys() - {'pretrained'})}: it loads the published weights of an "
            "unchanged config 'mmdet::...'. Write init_cfg=dict(type='Pretrained', checkpoint=FILE_OR_URL) instead"
        )
    return model_config(node)
