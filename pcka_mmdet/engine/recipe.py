"""Make a distillation config from any detector's config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from pcka_mmdet.configuration.detector import build_detector, model_config, model_of, plain_dict
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.sentence import listed
from pcka_mmdet.models.detector_parts import UnreadableHead, dense_head, num_classes
from pcka_mmdet.models.heads import difference_of_heads, reader_of
from pcka_mmdet.models.levels import pair_levels, source_levels
from pcka_mmdet.models.losses.prediction_loss import problem_of_student, problem_of_teacher
from pcka_mmdet.models.losses.query_loss import problem_of_queries
from pcka_mmdet.models.losses.roi_head_loss import problem_of_roi_head
from pcka_mmdet.models.recipes import HEAD_RECIPES, RECIPES, recipe_settings

from .cfg_options import merge_options
from .checks.annotations import label_order
from .checks.teacher_check import check_classes_of_weights
from .hooks.console import shorten_console_lines

Classes = tuple[str, ...] | None

COMPARE_CLASSES = tuple(recipe for recipe in HEAD_RECIPES if recipe != "teacher-head")
"""Recipes that compare class scores of both sides' heads. An RPN has none."""


class Choice(NamedTuple):
    """A recipe, and a sentence on why."""

    recipe: str
    reason: str


class CommonClasses(NamedTuple):
    """The classes that student and teacher both tell apart."""

    pairs: list[tuple[int, int]] | None
    """Index of each in the student's head and in the teacher's; `None` if the heads have the same classes."""
    words: str
    """What differs."""


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
    reason, student_model, teacher_model, common = "as given", None, None, None
    if recipe in (None, *HEAD_RECIPES):
        teacher_model = build_detector(model_config(config.model.teacher), plain_norms=True)
        check_classes_of_weights(teacher_model, config.model.teacher_ckpt)
    if recipe in (None, *COMPARE_CLASSES):
        student_model = build_detector(config.model.architecture, plain_norms=True)
        common = common_classes(student_model, teacher_model, (label_order(config), _label_order(teacher_config)))
        if recipe is not None:
            _check_classes(recipe, student_model, common)
            reason += f"; {common.words}" if recipe == "predictions" and common.pairs else ""
    lacks_neck = recipe is None and not (_has_neck(student_model) and _has_neck(teacher_model))
    scale = config.model.get("teacher_scale", 1)
    if recipe is None:
        recipe, reason = suitable_recipe(student_model, teacher_model, common, scale)
    config.model.update(recipe_settings(recipe, [teacher_model], student=student_model, scale=scale))
    for loss in config.model.distiller.losses.values():
        if lacks_neck:
            loss.source = "backbone"
        if recipe == "predictions" and common.pairs:
            loss.classes = common.pairs
    names = [recipe, *(Path(path.rpartition("::")[2]).stem for path in (teacher, student))]
    content = plain_dict(config)
    if content.get("resume"):
        content.update(resume=False, load_from=None)  # from where that run went on
    for key in ("work_dir", "launcher"):  # of a config in a work directory
        content.pop(key, None)
    config = Config(content, cfg_text=config.text, filename="_".join(names) + ".py")
    return config, f"recipe {recipe}: {reason}"


def _check_classes(recipe: str, student: nn.Module, common: CommonClasses) -> None:
    """Refuse a named recipe that compares class scores of other classes."""
    if recipe == "predictions" and common.pairs == []:
        raise ValueError(f"--recipe predictions compares common classes, and there are none: {common.words}")
    if recipe != "predictions" and common.pairs is not None and getattr(student, "roi_head", None) is None:
        fitting = "predictions, which compares common classes" if common.pairs else "maps, which reads no classes"
        raise ValueError(
            f"--recipe {recipe} compares the first class of both sides, the second and so on, but {common.words}: "
            f"write --recipe {fitting}, or leave it out"
        )


def _label_order(teacher: Config) -> Classes:
    try:
        return label_order(teacher)
    except ValueError:  # the classes are in a file of another machine
        return None


def common_classes(student: nn.Module, teacher: nn.Module, names: tuple[Classes, Classes]) -> CommonClasses:
    """The classes that two detectors share, by name.

    Heads with the same number of classes have the same ones unless the names say otherwise. `names` are the classes of
    both training sets, in the order of the labels; `None` where unknown.
    """
    counts = [num_classes(detector) for detector in (student, teacher)]
    known = [of if of and count in (None, len(of)) else None for of, count in zip(names, counts, strict=True)]
    if not all(known):
        same = counts[0] == counts[1]
        return CommonClasses(None if same else [], f"the student has {counts[0]} classes, the teacher {counts[1]}")
    if known[0] == known[1]:
        return CommonClasses(None, "")
    of_teacher = {name: index for index, name in enumerate(known[1])}
    pairs = [(index, of_teacher[name]) for index, name in enumerate(known[0]) if name in of_teacher]
    shown = f"the student's classes are {listed(known[0])}, the teacher's {listed(known[1])}"
    if pairs:
        shown += f"; the common ones are {', '.join(known[0][index] for index, _ in pairs)}"
    return CommonClasses(pairs, shown)


def suitable_recipe(
    student: nn.Module, teacher: nn.Module, common: CommonClasses | None = None, scale: int = 1
) -> Choice:
    """The recipe for a pair of detectors.

    If both dense heads have the same classes, anchors and box coder, their outputs are compared, and the teacher's head
    runs on the student's maps; see also `HeadReader.gradients_of_one_scale`. Detectors of one kind of DETR's family
    share the teacher's queries. Between other heads the boxes and scores of the teacher are targets of the student's
    head, those of the common classes. Where one of the heads is not known, the teacher's head runs on the student's
    maps. Without common classes, or without a teacher's head whose outputs are known, the neck maps are compared.

    Args:
        common: Their common classes; `None`: by the number that each head has.
        scale: The `teacher_scale`.

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
            return Choice("maps", f"the {side} has no neck, so maps of the backbones are compared")
    common = common or common_classes(student, teacher, (None, None))
    if common.pairs == []:
        return Choice("maps", common.words)
    problem = problem_of_teacher(teacher) or problem_of_student(student)
    learns = "the student's head learns the teacher's boxes"
    if getattr(student, "roi_head", None) is not None and (of_roi_head := problem_of_roi_head(student, "student")):
        learns = f"the student's RPN learns the teacher's boxes, and its RoI head does not: {of_roi_head}"
    if common.pairs:
        if problem:
            return Choice("maps", f"{common.words}; {problem}")
        return Choice("predictions", f"{learns}; {common.words}")
    if not problem_of_queries(student, teacher):
        return Choice("queries", f"both are a {type(student).__name__}, and the student decodes the teacher's queries")
    try:
        pairs = pair_levels(source_levels(student, "head"), source_levels(teacher, "head", scale))
        difference = difference_of_heads(dense_head(student), dense_head(teacher), pairs)
    except UnreadableHead as error:
        difference = error.problem
    except ValueError as error:  # levels do not pair up
        difference = str(error)
    if difference and not problem:
        return Choice("predictions", f"{learns}, since {difference}")
    try:
        reader = reader_of(dense_head(teacher))
    except UnreadableHead as error:
        return Choice("maps", problem or error.problem)
    if not difference and reader.gradients_of_one_scale:
        return Choice("both-heads", "both dense heads have the same classes, anchors and box coder")
    difference = problem or f"equal norms at the outputs of a {reader.family} are far from equal at the neck"
    return Choice(
        "teacher-head", f"the teacher's head reads the student's maps; heads are not compared, since {difference}"
    )


def _has_neck(detector: nn.Module) -> bool:
    return getattr(detector, "neck", None) is not None


def make_distillation(config: Config, sides: dict[str, Any], distiller: dict, balance: dict | None = None) -> None:
    """Turn a student's config into its distillation's, in place. `sides` are further arguments of `FPNDistill`."""
    balanced = {} if balance is None else {"balance": balance}
    config.model = dict(type="pcka_mmdet.FPNDistill", **sides, distiller=distiller, **balanced)
    shorten_console_lines(config)
