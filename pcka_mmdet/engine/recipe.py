"""Make a distillation config from any detector's config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from pcka_mmdet.configuration.data_set import known_classes
from pcka_mmdet.configuration.detector import build_detector, model_config, model_of, plain_dict
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models.heads import difference_of_heads, reader_of
from pcka_mmdet.models.levels import pair_levels, source_levels
from pcka_mmdet.models.recipes import HEAD_RECIPES, RECIPES, recipe_settings
from pcka_mmdet.models.sources import dense_head, num_classes

from .cfg_options import merge_options
from .checks.teacher_check import check_classes_of_weights
from .hooks.console import shorten_console_lines

Classes = tuple[str, ...] | None


def distillation_config(
    student: str,
    teacher: str,
    teacher_ckpt: str,
    recipe: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Config, str]:
    """The student's config with its model distilled from the teacher.

    Args:
        student: Path of the student's config; see `pcka_mmdet.configuration.files.load_config`.
        teacher: Path of the teacher's config.
        teacher_ckpt: File or URL of the teacher's weights.
        recipe: A key of `pcka_mmdet.models.recipes.RECIPES`; `None` chooses, see `suitable_recipe`.
        options: `--cfg-options`. Those of student, teacher and data are merged before a recipe is chosen.

    Returns:
        A config named `RECIPE_TEACHER_STUDENT.py`, and a sentence on which recipe it has, and why.

    Raises:
        FileNotFoundError: A config does not exist.
        ValueError: The recipe is unknown, or named by `model.recipe`; a config is a distillation's or has no detector;
            an option is misspelt.
    """
    if recipe not in (None, *RECIPES):
        raise ValueError(f"there is no recipe {recipe!r}: write one of {tuple(RECIPES)}, or leave it out")
    if named := (options or {}).get("model.recipe"):
        raise ValueError(f"beside --teacher write --recipe {named}, not --cfg-options model.recipe={named}")
    config, teacher_config = load_config(student), load_config(teacher)
    if is_distillation(config):
        raise ValueError(f"{student!r} is the config of a distillation already: train it without --teacher")
    if is_distillation(teacher_config):
        raise ValueError(f"{teacher!r} is a distillation's config: give the student_config.py beside its checkpoints")
    for path, side in ((student, config), (teacher, teacher_config)):
        model = side.get("model") or {}
        if "detector" in model and "backbone" not in model:
            raise ValueError(
                f"{path!r} is the config of a {model.type}, which holds a detector, model.detector: give the config of "
                "that detector, and as --teacher-ckpt its weights under the names backbone.*, not teacher.*"
            )
    sides = dict(architecture=model_of(config, student), teacher=dict(cfg_path=teacher), teacher_ckpt=teacher_ckpt)
    make_distillation(config, sides, distiller={})
    of_losses = ("model.distiller.", "model.balance.")
    merge_options(config, {key: value for key, value in (options or {}).items() if not key.startswith(of_losses)})
    reason, teacher_model, lacks_neck = "as given", None, False
    if recipe in (None, *HEAD_RECIPES):
        teacher_model = build_detector(model_config(config.model.teacher), plain_norms=True)
        check_classes_of_weights(teacher_model, config.model.teacher_ckpt)
    if recipe is None:
        student_model = build_detector(config.model.architecture, plain_norms=True)
        try:
            teacher_classes = known_classes(teacher_config)
        except ValueError:  # they are in a file of another machine
            teacher_classes = None
        classes = known_classes(config), teacher_classes
        recipe, reason = suitable_recipe(student_model, teacher_model, classes, config.model.get("teacher_scale", 1))
        lacks_neck = not (_has_neck(student_model) and _has_neck(teacher_model))
    config.model.update(recipe_settings(recipe, [teacher_model]))
    if lacks_neck:
        for loss in config.model.distiller.losses.values():
            loss.source = "backbone"
    names = [recipe, *(Path(path.rpartition("::")[2]).stem for path in (teacher, student))]
    content = plain_dict(config)
    if content.get("resume"):
        content.update(resume=False, load_from=None)  # from where that run went on
    for key in ("work_dir", "launcher"):  # of a config in a work directory
        content.pop(key, None)
    config = Config(content, cfg_text=config.text, filename="_".join(names) + ".py")
    return config, f"recipe {recipe}: {reason}"


def suitable_recipe(
    student: nn.Module, teacher: nn.Module, classes: tuple[Classes, Classes] = (None, None), scale: int = 1
) -> tuple[str, str]:
    """The recipe for a pair of detectors, and the reason.

    The teacher's head runs on the student's maps. If both heads have the same classes, anchors and box coder, the
    outputs of the student's head are compared with the teacher's too. Without the same classes, or without a
    teacher's head whose outputs are known, the neck maps are compared. See also `HeadReader.gradients_of_one_scale`.
    `classes` are the names of the classes of both training sets, `None` where unknown. `scale` is the `teacher_scale`.

    Raises:
        ValueError: The student is a classifier.
    """
    if getattr(student, "head", None) is not None and not getattr(student, "with_bbox", False):
        raise ValueError(
            f"the student, a {type(student).__name__}, is a classifier, and the recipes are for detectors: write a "
            "config with its losses, as those of configs/classification, and train that without --teacher"
        )
    for side, detector in (("student", student), ("teacher", teacher)):
        if not _has_neck(detector):
            return "maps", f"the {side} has no neck, so maps of the backbones are compared"
    counts = [num_classes(detector) for detector in (student, teacher)]
    if counts[0] != counts[1]:
        return "maps", f"the student has {counts[0]} classes, the teacher {counts[1]}"
    known = [names for names, count in zip(classes, counts, strict=True) if names and count in (None, len(names))]
    if len(known) == 2 and known[0] != known[1]:
        shown = [", ".join(names[:5]) + (", ..." if len(names) > 5 else "") for names in known]
        return "maps", f"the student's classes are {shown[0]}, the teacher's {shown[1]}"
    try:
        reader = reader_of(dense_head(teacher))
    except ValueError as error:
        return "maps", _without_advice(error)
    try:
        pairs = pair_levels(source_levels(student, "head"), source_levels(teacher, "head", scale))
        difference = difference_of_heads(dense_head(student), dense_head(teacher), pairs)
    except ValueError as error:
        difference = _without_advice(error)
    if not difference and not reader.gradients_of_one_scale:
        difference = f"equal norms at the outputs of a {reader.family} are far from equal at the neck"
    if difference:
        return (
            "teacher-head",
            f"the teacher's head reads the student's maps; heads are not compared, since {difference}",
        )
    return "both-heads", "both dense heads have the same classes, anchors and box coder"


def _without_advice(error: ValueError) -> str:
    """The message without the loss that it advises: the recipe is the answer to it."""
    return str(error).partition(": use a loss")[0]


def _has_neck(detector: nn.Module) -> bool:
    return getattr(detector, "neck", None) is not None


def make_distillation(config: Config, sides: dict[str, Any], distiller: dict, balance: dict | None = None) -> None:
    """Turn a student's config into its distillation's, in place. `sides` are further arguments of `FPNDistill`."""
    balanced = {} if balance is None else {"balance": balance}
    config.model = dict(type="pcka_mmdet.FPNDistill", **sides, distiller=distiller, **balanced)
    shorten_console_lines(config)
