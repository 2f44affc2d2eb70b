"""Load detectors and their configs from model dicts, config paths or `cfg_path` with overrides."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope

from .data_set import innermost
from .files import OURS, load_config

OPERATORS = "mmcv.ops."
"""What MMEngine writes before the name of an operator of mmcv, which mmcv knows by the name alone."""

STUDENT_CONFIG = "student_config.py"
"""The file of the student's own config, in the work directory of a distillation."""

SCOPES_WITHOUT_DETECTORS = ("mmengine", "mmrazor", OURS)
"""With one of these as the default scope, detectors are looked up in MMDetection."""


def plain_dict(config: Config | ConfigDict) -> dict:
    """A config's content without objects: those of a Python-style config by their names, operators of mmcv by those
    that mmcv knows (`nms`, where MMEngine writes `mmcv.ops.nms`)."""
    return _with_known_names(config.to_dict())


def _with_known_names(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_known_names(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(map(_with_known_names, node))
    return node.rpartition(".")[2] if isinstance(node, str) and node.startswith(OPERATORS) else node


def model_config(spec: str | dict) -> ConfigDict:
    """The model dict of `spec`.

    Args:
        spec: A model dict, the path of a config with a `model`, or `dict(cfg_path=..., **overrides)`, whose overrides
            are merged into that `model`.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: The config has no `model`.
    """
    if isinstance(spec, str):
        spec = dict(cfg_path=spec)
    overrides: dict[str, Any] = copy.deepcopy(dict(spec))
    path = overrides.pop("cfg_path", None)
    if path is None:
        return ConfigDict(overrides)
    overrides.pop("pretrained", None)  # MMRazor's option for the config's published weights
    return model_of(load_config(path), path, overrides)


def model_of(config: Config, path: str, overrides: dict[str, Any] | None = None) -> ConfigDict:
    """The model of a detector's config, with the config's preprocessor and default scope.

    Args:
        config: The config.
        path: The config's name, for the message.
        overrides: Merged into the model.

    Raises:
        ValueError: The config has no `model`.
    """
    if "model" not in config:
        raise ValueError(f"the config {path!r} defines no `model`: give the config of a detector")
    if "data_preprocessor" in config:
        config.model.setdefault("data_preprocessor", config.data_preprocessor)
    config.merge_from_dict(dict(model=overrides or {}))
    model = config.model
    model.setdefault("_scope_", config.get("default_scope", "mmdet"))
    return model


def padded_size(config: Config, loader: str = "train_dataloader") -> tuple[int, int] | None:
    """Height and width of the padded images, landscape, by the first `Resize` of a pipeline; `None` without one.

    Args:
        config: A detector's config, or a distillation's.
        loader: Whose pipeline.
    """
    steps = innermost(config[loader].dataset).get("pipeline") or []
    scales = [step["scale"] for step in steps if last_name(step["type"]) == "Resize" and "scale" in step]
    if not scales:
        return None
    model = student_model(config)
    divisor = (model.get("data_preprocessor") or {}).get("pad_size_divisor", 1)
    scale = scales[0] if isinstance(scales[0], Sequence) else (scales[0], scales[0])
    height, width = (side + -side % divisor for side in sorted(scale))
    return height, width


def write_out_detectors(config: Config) -> None:
    """Replace `cfg_path`, in place, by the model dict where MMRazor would build another detector.

    MMRazor supports only `dict(cfg_path='mmdet::...', pretrained=...)`. It silently drops overrides of keys that the
    model has, and fails on a local path.

    Raises:
        FileNotFoundError: See `model_config`.
        ValueError: See `model_config`; or `pretrained` is set together with overrides or a local path.
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


TEACHER_OPTIONS = ("ckpt", "since", "until", "weight")
"""Keys of an entry of `FPNDistill(teachers=...)` that are no part of the teacher's model."""


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
    """Put the model dicts of student and teachers in place of their config files, in the model of a distillation.

    Raises:
        FileNotFoundError: See `model_config`.
        ValueError: See `model_config`.
    """
    for side in ("architecture", "teacher"):
        if model.get(side) is not None:
            model[side] = model_config(model[side])
    if model.get("teachers"):
        sides = map(split_teacher, model["teachers"])
        model["teachers"] = [{**model_config(spec), **options} for spec, options in sides]


def self_contained(config: Config) -> Config:
    """A distillation's config with the model dicts of student and teachers in place of their config files.

    Raises:
        FileNotFoundError: See `model_config`.
        ValueError: See `model_config`.
    """
    if not is_distillation(config):
        return config
    config = copy.deepcopy(config)
    write_out_sides(config.model)
    return config


def is_distillation(config: Config) -> bool:
    """Whether a config's model is a distillation: `FPNDistill` or an algorithm of MMRazor's."""
    return "architecture" in config.get("model", {})


def student_model(config: Config) -> dict:
    """The model dict of the detector that is trained."""
    return model_config(config.model.architecture) if is_distillation(config) else config.model


def is_fpn_distill(config: Config) -> bool:
    """Whether a config's model is an FPNDistill."""
    return last_name(config.get("model", {}).get("type")) == "FPNDistill"


def last_name(kind: Any) -> str:
    """The class name of a `type` (a string or a class), without its scope."""
    return str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def build_detector(spec: str | dict | BaseModel) -> BaseModel:
    """Build a detector, with MMDetection as the default scope; `init_weights()` is not called.

    Raises:
        FileNotFoundError: See `model_config`.
        ValueError: See `model_config`; or `pretrained` is set, which MMRazor alone follows.
        TypeError: `spec` does not give an MMEngine `BaseModel`.
    """
    if isinstance(spec, dict) and "cfg_path" in spec and spec.get("pretrained"):
        raise ValueError(
            f"pretrained=True beside cfg_path={spec['cfg_path']!r} would load nothing: give the weights of a teacher "
            "as teacher_ckpt=FILE_OR_URL, those of a student as init_student=FILE_OR_URL"
        )
    if not isinstance(spec, BaseModel):
        config = model_config(spec)
        scope = DefaultScope.get_current_instance()
        if scope is None or scope.scope_name in SCOPES_WITHOUT_DETECTORS:
            config.setdefault("_scope_", "mmdet")
        spec = MODELS.build(config)
    if not isinstance(spec, BaseModel):
        raise TypeError(f"expected a detector (a model dict, a config path or a BaseModel), got {type(spec).__name__}")
    return spec
