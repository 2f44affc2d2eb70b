"""Make a distillation config from any detector's config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

import pcka_mmdet
from pcka_mmdet.configuration.detector import is_distillation, load_config, model_config, model_of

RECIPES = ("center-mimic", "head", "pcka", "pcka-mimic")
"""Files in `configs/_base_/distillers`; the last two are the paper's."""


def distillation_config(student: str, teacher: str, teacher_ckpt: str, recipe: str = RECIPES[0]) -> Config:
    """The student's config with its model distilled from the teacher; all else but a recipe's hooks is unchanged.

    Args:
        student: Path of the student's config; see `pcka_mmdet.configuration.detector.load_config`.
        teacher: Path of the teacher's.
        teacher_ckpt: File or URL of the teacher's weights.
        recipe: One of `RECIPES`. Its losses apply to all levels that both necks have.

    Returns:
        A config named `RECIPE_TEACHER_STUDENT.py`. Besides it, only the teacher's config is needed.

    Raises:
        FileNotFoundError: A config does not exist.
        ValueError: The student's config is a distillation already, or a config has no model.
    """
    config = load_config(student)
    if is_distillation(config):
        raise ValueError(f"{student!r} is the config of a distillation already: train it without --teacher")
    parts = _recipe(recipe, two_stage="roi_head" in model_config(teacher))
    sides = dict(architecture=model_of(config, student), teacher=dict(cfg_path=teacher), teacher_ckpt=teacher_ckpt)
    make_distillation(config, sides, parts.distiller, parts.get("balance"), parts.get("custom_hooks", ()))
    names = [recipe, *(Path(path.rpartition("::")[2]).stem for path in (teacher, student))]
    return Config(config.to_dict(), cfg_text=config.text, filename="_".join(names) + ".py")


def make_distillation(
    config: Config, sides: dict[str, Any], distiller: dict, balance: dict | None = None, hooks: Sequence[dict] = ()
) -> None:
    """Turn a student's config into its distillation's, in place.

    Args:
        config: The student's.
        sides: `architecture`, `teacher` and `teacher_ckpt` of `FPNDistill`.
        distiller: Config of the distiller.
        balance: See `FPNDistill`.
        hooks: Added to the student's own hooks.
    """
    balanced = {} if balance is None else {"balance": balance}
    config.model = dict(type="pcka_mmdet.FPNDistill", **sides, distiller=distiller, **balanced)
    if hooks:
        config.custom_hooks = [*(config.get("custom_hooks") or []), *hooks]
    config.log_processor = {**config.get("log_processor", {}), "type": "pcka_mmdet.LevelLogProcessor"}


def _recipe(recipe: str, two_stage: bool) -> Config:
    """A recipe's distiller, balance and hooks, on all levels, since the levels that it selects may not exist.

    Args:
        recipe: One of `RECIPES`.
        two_stage: Whether the teacher has a RoI head, which `head` then asks too.
    """
    parts = Config.fromfile(_configs() / "_base_" / "distillers" / f"{recipe}.py")
    for loss in parts.distiller.losses.values():
        loss.pop("strides", None)
    if "head" in parts.distiller.losses and two_stage:
        parts.distiller.losses.roi = dict(type="pcka_mmdet.RoIHeadLoss")
    return parts


def _configs() -> Path:
    """The folder of this package's configs: inside an installed wheel, or in the repository."""
    package = Path(pcka_mmdet.__file__).parent
    carried = package / ".mim" / "configs"
    return carried if carried.is_dir() else package.parent / "configs"
