"""Settings of the command line (`--cfg-options`), checked and merged into a config."""

import difflib
import inspect
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner

from pcka_mmdet.configuration.distillation import is_fpn_distill, write_out_mmrazor_detectors
from pcka_mmdet.models import FPNDistill

_OF_DISTILLATION = {"type", *inspect.signature(FPNDistill).parameters} - {"data_preprocessor", "init_cfg"}
"""Settings of `model` that are not the student's."""

_OF_RUNNER = set(inspect.signature(Runner.__init__).parameters)
"""Settings of MMEngine's runner."""

CUTOFF = 0.82
"""Similarity of two names above which one is taken for a misspelt form of the other. Names at the top of MMDetection's
configs stay below it: `conv_cfg` and `env_cfg` have 0.8."""

_PLACES = {
    "lr": "optim_wrapper.optimizer.lr",
    "max_epochs": "train_cfg.max_epochs",
    "seed": "randomness.seed",
    "val_interval": "train_cfg.val_interval",
}
"""Where settings are that users write without their place. In a distillation, those of `model` are such too."""


def apply_common(config: Config, options: Mapping[str, Any] | None, work_dir: str | None) -> None:
    """Apply `--cfg-options` and `--work-dir`, in place.

    Raises:
        FileNotFoundError: The config of a detector that it names does not exist.
        ValueError: That config is invalid; see also `check_names`.
    """
    merge_options(config, options or {})
    write_out_mmrazor_detectors(config)
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(config.filename).stem)


def check_names(config: Config, options: Mapping[str, Any]) -> None:
    """Refuse options that nearly are a setting of MMEngine's, of ours, or of a default hook, or lack its place.

    MMEngine adds what a config lacks, so a misspelt setting would be silent. A name that begins with a setting's, such
    as `train_cfg_stage2`, passes, as does every name that the config has.

    Raises:
        ValueError: There is such an option.
    """
    known = {"": _OF_RUNNER}
    known["default_hooks."] = set(config.get("default_hooks") or {})
    places = dict(_PLACES)
    if is_fpn_distill(config):
        known["model."] = _OF_DISTILLATION
        places |= {name: f"model.{name}" for name in _OF_DISTILLATION} | {"losses": "model.distiller.losses"}
    there = {"": config, "default_hooks.": known["default_hooks."], "model.": config.get("model") or {}}
    for option in options:
        name, dot, rest = option.partition(".")
        if name in places and name not in config:
            meant = _with_names_that_are_there(config, places[name] + dot + rest)
            raise ValueError(f"there is no setting {option!r}: did you mean {meant!r}?")
        for prefix, names in known.items():
            if (meant := _meant(option, prefix, names, there[prefix])) is not None:
                raise ValueError(f"there is no setting {option!r}: did you mean {meant!r}?")


def warn_of_misspelt_names(config: Config) -> None:
    """Log names at the top of a config that nearly are a setting of MMEngine's. MMEngine ignores them."""
    for name in config:
        meant = _meant(name, "", _OF_RUNNER, there=())
        if meant is not None:
            print_log(
                f"the config has {name!r}, which nothing reads: did you mean {meant!r}?", "current", logging.WARNING
            )


def _with_names_that_are_there(config: Config, option: str) -> str:
    """The option, with each name that the config lacks replaced by the closest one that it has there, if one is close.

    Args:
        config: The config.
        option: Such as `'model.distiller.losses.pckaa.loss_weight'`.
    """
    names, node = [], config
    for name in option.split("."):
        there = list(node) if isinstance(node, Mapping) or node is config else []
        names.append(name if name in there else next(iter(difflib.get_close_matches(name, there, n=1)), name))
        node = node.get(names[-1]) if names[-1] in there else None
    return ".".join(names)


def _meant(option: str, prefix: str, names: Collection[str], there: Collection[str]) -> str | None:
    """The option whose name below `prefix` is misspelt; `None` if it is not.

    Args:
        option: The option.
        prefix: Such as `'model.'`.
        names: Names of settings that a config may have there.
        there: Names that this config has there.
    """
    if not option.startswith(prefix):
        return None
    name, dot, rest = option.removeprefix(prefix).partition(".")
    if name in there or name in names or name.startswith(tuple(f"{setting}_" for setting in names)):
        return None
    close = difflib.get_close_matches(name, names, n=1, cutoff=CUTOFF)
    return prefix + close[0] + dot + rest if close else None


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Merge options; in a distillation, a detector's options (`model.bbox_head.num_classes`) go to the student.

    Raises:
        ValueError: See `check_names`.
    """
    check_names(config, options)
    of_student = {
        key: value
        for key, value in options.items()
        if is_fpn_distill(config) and key.startswith("model.") and key.split(".")[1] not in _OF_DISTILLATION
    }
    config.merge_from_dict({key: value for key, value in options.items() if key not in of_student})
    if is_fpn_distill(config) and "data_preprocessor" in config and "data_preprocessor" in config.model.architecture:
        # the student has a copy of the one at the top
        of_student |= {f"model.{key}": value for key, value in options.items() if key.startswith("data_preprocessor")}
    if not of_student:
        return
    if isinstance(config.model.architecture, str):
        config.model.architecture = dict(cfg_path=config.model.architecture)
    config.merge_from_dict({f"model.architecture.{key.removeprefix('model.')}": v for key, v in of_student.items()})
