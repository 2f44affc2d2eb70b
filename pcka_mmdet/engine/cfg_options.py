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
    """Apply `--cfg-options` and `--work-dir`, in place, and write out detectors that MMRazor would build wrongly."""
    merge_options(config, options or {})
    write_out_mmrazor_detectors(config)
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(config.filename).stem)


def merge_options(config: Config, options: Mapping[str, Any]) -> None:
    """Merge options; in a distillation, a detector's options (`model.bbox_head.num_classes`) go to the student.

    A recipe is written out first (see `pcka_mmdet.models.recipes`), so that options may name its parts.

    Raises:
        ValueError: A name is refused (see `check_names`), or the recipe.
    """
    if not is_fpn_distill(config):
        check_names(config, options)
        config.merge_from_dict(dict(options))
        return
    options = dict(options)
    for side in ("architecture", "teacher"):
        key = f"model.{side}"
        if key in options:
            config.merge_from_dict({key: options.pop(key)})
        if isinstance(config.model.get(side), str):  # a further option may change a part of it
            config.model[side] = dict(cfg_path=config.model[side])
    _merge_recipe(config, options)
    options = {key: value for key, value in options.items() if key != "model.recipe"}
    check_names(config, options)
    student, ratios, rest = {}, {}, {}
    for key, value in options.items():
        if key.startswith("model.") and key.split(".")[1] not in _DISTILLATION_SETTINGS:
            student[key.removeprefix("model.")] = value
        elif key.startswith("model.balance.ratio."):
            ratios[key] = value
        else:
            rest[key] = value
    config.merge_from_dict(rest)
    if ratios and not isinstance(ratio_of(config.model), Mapping):
        # MMEngine merges no dict into a number: the losses without an option keep the number
        by_name = ratios_by_name(ratio_of(config.model), losses_of(config.model))
        config.model.balance = {**(config.model.get("balance") or {}), "ratio": by_name}
    config.merge_from_dict(ratios)
    if "data_preprocessor" in config and "data_preprocessor" in config.model.architecture:
        # the student has a copy of the one at the top
        student |= {key: value for key, value in options.items() if key.startswith("data_preprocessor")}
    config.merge_from_dict({f"model.architecture.{key}": value for key, value in student.items()})


def _merge_recipe(config: Config, options: Mapping[str, Any]) -> None:
    """Write out a distillation's recipe. It depends on the teachers, so their options are merged first."""
    model, recipe = config.model, options.get("model.recipe")
    if recipe is not None and model.get("recipe") is None and model.get("distiller") is not None:
        raise ValueError(
            f"model.recipe={recipe}: the losses of this config are written out, and a recipe would be added to them: "
            "change model.distiller.losses, give a config that names a recipe, or write --recipe beside --teacher"
        )
    names = ("model.recipe.", "model.teacher.", "model.teachers.")
    config.merge_from_dict({key: value for key, value in options.items() if f"{key}.".startswith(names)})
    write_out_recipe(config.model)


def check_names(config: Config, options: Mapping[str, Any]) -> None:
    """Refuse misspelt settings of MMEngine, `FPNDistill` and the default hooks, which MMEngine would add in silence.

    Names that the config has pass, and names that begin with a setting's (`train_cfg_stage2`). A variable of the file
    (`max_epochs`, `balance`) is refused: the settings made from it have been read.

    Raises:
        ValueError: An option is misspelt or lacks its place.
    """
    hooks = config.get("default_hooks") or {}
    # names of settings below each prefix, and the names that this config has there
    known: dict[str, tuple[Collection[str], Collection[str]]]
    known = {"": (_RUNNER_SETTINGS, config), "default_hooks.": (hooks, hooks)}
    places, losses = dict(_PLACES), {}
    if is_fpn_distill(config):
        known["model."] = _DISTILLATION_SETTINGS, config.model
        places |= {name: f"model.{name}" for name in _DISTILLATION_SETTINGS} | {"losses": "model.distiller.losses"}
        losses = losses_of(config.model)
    for option in options:
        name, dot, rest = option.partition(".")
        if name == "losses" and "." in rest and not rest.endswith(".type"):  # a type would add a loss
            rest = _corrected(rest, losses, losses) or rest
        meant = places[name] + dot + rest if name in places else None
        for prefix, (settings, given) in known.items():
            if meant is None and option.startswith(prefix):
                right = _corrected(option.removeprefix(prefix), settings, given)
                meant = right and prefix + right
        if meant is not None:
            raise ValueError(f"there is no setting {option!r}: did you mean {meant!r}?")


def doubtful_names(config: Config) -> list[str]:
    """A sentence for each name at the top of a config that nearly is a setting of MMEngine's, which ignores it."""
    meant = {name: _corrected(name, _RUNNER_SETTINGS, (), CUTOFF_IN_FILES) for name in config}
    return [
        f"the config has {name!r}, which MMEngine does not read: did you mean {right!r}?"
        for name, right in meant.items()
        if right is not None
    ]


def _corrected(option: str, settings: Collection[str], given: Collection[str], cutoff: float = CUTOFF) -> str | None:
    """The option with its first name corrected to the setting that is meant; `None` if it is a setting or given."""
    name, dot, rest = option.partition(".")
    if name in given or name in settings or name.startswith(tuple(f"{setting}_" for setting in settings)):
        return None
    close = difflib.get_close_matches(name, settings, n=1, cutoff=cutoff)
    return close[0] + dot + rest if close else None
