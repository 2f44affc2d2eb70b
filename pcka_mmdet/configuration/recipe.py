"""Make a distillation config from any detector's config."""

from pathlib import Path

from mmengine.config import Config

import pcka_mmdet
from pcka_mmdet.configuration.detector import is_distillation, load_config, model_config, model_of

RECIPES = ("center-mimic", "pcka", "pcka-mimic")
"""Distillers in `configs/_base_/distillers`; the last two are the paper's."""


def distillation_config(student: str, teacher: str, teacher_ckpt: str, recipe: str = RECIPES[0]) -> Config:
    """The student's config with its model distilled from the teacher; everything else is unchanged.

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
    model_config(teacher)  # check that it exists and has a model
    config.model = dict(
        type="pcka_mmdet.FPNDistill",
        architecture=model_of(config, student),
        teacher=dict(cfg_path=teacher),
        teacher_ckpt=teacher_ckpt,
        distiller=_distiller(recipe),
    )
    config.log_processor = {**config.get("log_processor", {}), "type": "pcka_mmdet.LevelLogProcessor"}
    names = [recipe, *(Path(path.rpartition("::")[2]).stem for path in (teacher, student))]
    return Config(config.to_dict(), cfg_text=config.text, filename="_".join(names) + ".py")


def _distiller(recipe: str) -> dict:
    """A recipe's distiller on all levels, since the levels that it selects may not exist."""
    distiller = Config.fromfile(_configs() / "_base_" / "distillers" / f"{recipe}.py").distiller
    for loss in distiller.losses.values():
        loss.pop("strides", None)
    return distiller


def _configs() -> Path:
    """The folder of this package's configs: inside an installed wheel, or in the repository."""
    package = Path(pcka_mmdet.__file__).parent
    carried = package / ".mim" / "configs"
    return carried if carried.is_dir() else package.parent / "configs"
