"""Load detectors and their configs from model dicts, config paths or `cfg_path` with overrides."""

import copy
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope

from .files import load_config
from .nested import replaced


def plain_dict(config: Config | ConfigDict) -> dict:
    """A config's content with the objects of a Python-style config by their registered names."""
    return with_known_names(config.to_dict())


def with_known_names(node: Any) -> Any:
    """Nested values with operators and initializers by their registered names (`nms` for `mmcv.ops.nms`)."""
    return replaced(node, _known_name)


def _known_name(name: str) -> str:
    last = name.rpartition(".")[2]
    if name.startswith("mmcv.ops."):
        return last
    # models do not know `mmengine.model.PretrainedInit`, and would initialise layers after it has loaded their weights
    return last.removesuffix("Init") if name.startswith("mmengine.model.") and last.endswith("Init") else name


def model_config(spec: str | dict) -> ConfigDict:
    """The model dict of `spec`.

    Args:
        spec: A model dict, the path of a config with a `model`, or `dict(cfg_path=..., **overrides)`, whose overrides
            are merged into that `model`.

    Raises:
        FileNotFoundError: The config does not exist.
        ValueError: The config has no `model`.
    """
    overrides: dict[str, Any] = dict(cfg_path=spec) if isinstance(spec, str) else copy.deepcopy(dict(spec))
    path = overrides.pop("cfg_path", None)
    if path is None:
        return ConfigDict(overrides)
    overrides.pop("pretrained", None)  # MMRazor's option for the config's published weights
    return model_of(load_config(path), path, overrides)


def model_of(config: Config, path: str, overrides: dict[str, Any] | None = None) -> ConfigDict:
    """The `model` of the config at `path`, with preprocessor, scope and overrides added in place; or a ValueError."""
    if "model" not in config:
        raise ValueError(f"the config {path!r} defines no `model`: give the config of a detector")
    if "data_preprocessor" in config:
        config.model.setdefault("data_preprocessor", config.data_preprocessor)
    config.merge_from_dict(dict(model=overrides or {}))
    config.model.setdefault("_scope_", config.get("default_scope", "mmdet"))
    return config.model


def build_detector(spec: str | dict | BaseModel, plain_norms: bool = False) -> BaseModel:
    """Build a detector, with MMDetection as the default scope; `init_weights()` is not called.

    Args:
        spec: See `model_config`; or a detector, which is returned.
        plain_norms: Replace `MMSyncBN`, which cannot be built before processes are connected, by `BN`.

    Raises:
        ValueError: `pretrained` is set, which only MMRazor reads. See also `model_config`.
        TypeError: `spec` does not give an MMEngine `BaseModel`.
    """
    if isinstance(spec, dict) and "cfg_path" in spec and spec.get("pretrained"):
        raise ValueError(
            f"pretrained=True beside cfg_path={spec['cfg_path']!r} would load nothing: give the weights of a teacher "
            "as teacher_ckpt=FILE_OR_URL, those of a student as init_student=FILE_OR_URL"
        )
    if not isinstance(spec, BaseModel):
        config = model_config(spec)
        if plain_norms:
            config = ConfigDict(replaced(config, lambda name: "BN" if name == "MMSyncBN" else name))
        scope = DefaultScope.get_current_instance()
        if scope is None or scope.scope_name in ("mmengine", "mmrazor", "pcka_mmdet"):  # they have no detectors
            config.setdefault("_scope_", "mmdet")
        spec = MODELS.build(config)
    if not isinstance(spec, BaseModel):
        raise TypeError(f"expected a detector (a model dict, a config path or a BaseModel), got {type(spec).__name__}")
    return spec
