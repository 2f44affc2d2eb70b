"""Settings of the command line (`--cfg-options`), checked and merged into a config."""

import difflib
import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet.configuration.distillation import is_fpn_distill, write_out_mmrazor_detectors
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.recipes import losses_of, ratio_of, ratios_by_name, write_out_recipe

_DISTILLATION_SETTINGS = {"type", *inspect.signature(FPNDistill).parameters} - {"data_preprocessor"}
"""Settings of `model` that are not the student's."""

_RUNNER_SETTINGS = set(inspect.signature(Runner).parameters)
"""Settings of MMEngine's runner."""

CUTOFF = 0.8
"""Similarity from which one name is taken for a misspelt form of another: `modle` and `model` have 0.8."""

CUTOFF_IN_FILES = 0.82
"""A stricter cutoff for config files, so that `conv_cfg` is not taken for `env_cfg`."""

_PLACES = {
    "lr": "optim_wrapper.optimizer.lr",
    "max_epochs": "train_cfg.max_epochs",
    "seed": "randomness.seed",
    "val_interval": "train_cfg.val_interval",
}
"""Short option names that users type, and the full path of each."""


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
    as `train_cfg_stage2`, passes, as does every other name that the config has. A variable of the file (`max_epochs`,
    `balance`) is refused: the settings made from it have been read.

    Raises:
        ValueError: There is such an option.
    """
    known = {"": _RUNNER_SETTINGS}
    known["default_hooks."] = set(config.get("default_hooks") or {})
    places = dict(_PLACES)
    if is_fpn_distill(config):
        known["model."] = _DISTILLATION_SETTINGS
        places |= {name: f"model.{name}" for name in _DISTILLATION_SETTINGS} | {"losses": "model.distiller.losses"}
    there = {"": config, "default_hooks.": known["default_hooks."], "model.": config.get("model") or {}}
    for option in options:
        name, dot, rest = option.partition(".")
        if name in places:
            meant = places[name] + dot + (_of_a_loss(config, rest) if name == "losses" else rest)
            raise ValueError(f"there is no setting {option!r}: did you mean {meant!r}?")
        for prefix, names in known.items():
            if (meant := _meant(option, prefix, names, there[prefix])) is not None:
                raise ValueError(f"there is no setting {option!r}: did you mean {meant!r}?")


def doubtful_names(config: Config) -> list[str]:
    """A sentence for each name at the top of a config that nearly is a setting of MMEngine's, which ignores it."""
    meant = {name: _meant(name, "", _RUNNER_SETTINGS, (), CUTOFF_IN_FILES) for name in config}
    return [
        f"the config has {name!r}, which MMEngine does not read: did you mean {right!r}?"
        for name, right in meant.items()
        if right is not None
    ]


def _of_a_loss(config: Config, option: str) -> str:
    """An option below `losses`, with the name of a loss that the config has in the place of a misspelt one.

    Args:
        config: The config of a distillation.
        option: Such as `'pckaa.loss_weight'`. One that sets a type (`'pcka2.type'`) adds a loss and is left as it is.
    """
    name, dot, rest = option.partition(".")
    there = config.model.get("distiller", {}).get("losses") or {}
    adds = name in there or rest in ("", "type")
    close = [] if adds else difflib.get_close_matches(name, there, n=1, cutoff=CUTOFF)
    return f"{close[0]}{dot}{rest}" if close else option


def _meant(
    option: str, prefix: str, names: Collection[str], there: Collection[str], cutoff: float = CUTOFF
) -> str | None:
    """The option whose name below `prefix` is misspelt; `None` if it is not.

    Args:
        option: The option.
        prefix: Such as `'model.'`.
        names: Names of settings that a config may have there.
        there: Names that this config has there.
        cutoff: Least similarity.
    """
    if not option.startswith(prefix):
        return None
    name, dot, rest = option.removeprefix(prefix).partition(".")
    if name in there or name in names or name.startswith(tuple(f"{setting}_" for setting in names)):
        return None
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return prefix + close[0] + dot + rest if close else None


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Merge options; in a distillation, a detector's options (`model.bbox_head.num_classes`) go to the student.

    A recipe is written out first (see `pcka_mmdet.models.recipes`), so that options may name its parts.

    Raises:
        ValueError: There is no such recipe, or the config has none to replace; see also `check_names`.
    """
    if is_fpn_distill(config):
        _merge_recipe(config, options)
        options = {key: value for key, value in options.items() if key != "model.recipe"}
    check_names(config, options)
    of_student = {
        key: value
        for key, value in options.items()
        if is_fpn_distill(config) and key.startswith("model.") and key.split(".")[1] not in _DISTILLATION_SETTINGS
    }
    ratios = {key: value for key, value in options.items() if key.startswith("model.balance.ratio.")}
    config.merge_from_dict({key: options[key] for key in options if key not in (*of_student, *ratios)})
    _merge_ratios(config, ratios)
    if is_fpn_distill(config) and "data_preprocessor" in config and "data_preprocessor" in config.model.architecture:
        # the student has a copy of the one at the top
        of_student |= {f"model.{key}": value for key, value in options.items() if key.startswith("data_preprocessor")}
    if not of_student:
        return
    if isinstance(config.model.architecture, str):
        config.model.architecture = dict(cfg_path=config.model.architecture)
    config.merge_from_dict({f"model.architecture.{key.removeprefix('model.')}": v for key, v in of_student.items()})


def _merge_recipe(config: Config, options: Mapping[str, Any]) -> None:
    """Write out the recipe of a distillation's config, with the teachers of the options, which it depends on."""
    model, recipe = config.model, options.get("model.recipe")
    if recipe is not None and model.get("recipe") is None and model.get("distiller") is not None:
        raise ValueError(
            f"model.recipe={recipe}: the losses of this config are written out, and a recipe would be added to them: "
            "change model.distiller.losses, give a config that names a recipe, or write --recipe beside --teacher"
        )
    names = ("model.recipe.", "model.teacher.", "model.teachers.")
    config.merge_from_dict({key: value for key, value in options.items() if f"{key}.".startswith(names)})
    write_out_recipe(config.model)


def _merge_ratios(config: Config, ratios: Mapping[str, Any]) -> None:
    """Merge ratios of single losses. MMEngine merges no dict into a number: the other losses keep that number."""
    if ratios and not isinstance(ratio_of(config.model), Mapping):
        config.model.balance = dict(ratio=ratios_by_name(ratio_of(config.model), losses_of(config.model)))
    config.merge_from_dict(dict(ratios))
