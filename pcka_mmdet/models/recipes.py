"""The recipes: the losses of a distillation, and the balance of their gradients. Each is defined only here.

`FPNDistill(recipe="both-heads", ...)` takes `RECIPE_SETTINGS` from a recipe. Settings given beside it are merged into
these as a config into its base: `balance=dict(ratio=0.5)`, or `distiller=dict(losses=dict(own=None))` to leave a loss
out. `write_out_recipe` replaces the name by the settings before `--cfg-options` are merged, so that an option may name
any part of a recipe, and a resumed training keeps its losses when a later version changes the recipe.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict
from mmengine.model import BaseModel

from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.configuration.distillation import RECIPE_SETTINGS, teachers_of

from .losses.roi_head_loss import problem_of_roi_head
from .queries import has_queries

Detector = str | dict | BaseModel
"""A config's path, a model dict, or what it builds."""

FROM_RECIPE = "recipe"
"""Default of the settings of `FPNDistill` that a recipe has."""

_PCKA = dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size=16, average="channel", centering="none")
"""As in the paper's published results, on all levels that both necks have. The paper takes the first four."""

_POSITIONS = dict(_PCKA, position_weight=10.0)
"""A second term, whose Gram matrices compare the positions within a patch, at the same weight."""

_MIMIC = dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0)
"""DIST's auxiliary loss."""


def _recipe(ratio: float | dict[str, float] | None = None, **losses: dict) -> dict[str, Any]:
    """Settings with losses of constant weight, or balanced at a ratio."""
    settings: dict[str, Any] = dict(distiller=dict(type="pcka_mmdet.FPNDistiller", losses=losses))
    return settings if ratio is None else dict(settings, balance=dict(ratio=ratio))


def _on_outputs(ratio: float | dict[str, float], **losses: dict) -> dict[str, Any]:
    """Losses on outputs of heads. The teacher computes in bfloat16 where the processor does."""
    return dict(_recipe(ratio, **losses), teacher_precision="auto")


def _heads(**losses: dict) -> dict[str, Any]:
    """Losses on outputs of heads, and of the RoI head if the teacher has one, see `_fit`.

    At the heads' outputs the distillation's gradient has the norm of the task's; at the neck, the norm of the gradient
    of the task and the student's head together: in total a few times the task's.
    """
    return _on_outputs(1.0, **losses, roi=dict(type="pcka_mmdet.RoIHeadLoss"))


RECIPES: dict[str, dict[str, Any]] = {
    # heads of the same classes, anchors and box coder
    "both-heads": _heads(head=dict(type="pcka_mmdet.HeadLoss"), own=dict(type="pcka_mmdet.OwnHeadLoss")),
    # the same without the teacher's head on the student's maps: a step takes less time
    "own-head": _heads(own=dict(type="pcka_mmdet.OwnHeadLoss")),
    # heads of different families: the student's head learns the teacher's boxes and class scores. See `_fit`
    "predictions": _on_outputs(
        dict(boxes=1.0),
        boxes=dict(type="pcka_mmdet.PredictionLoss"),
        proposals=dict(type="pcka_mmdet.PredictionLoss", source="roi_head"),
    ),
    # detectors of one kind of DETR's family: the teacher's queries go through the student's decoder too
    "queries": _on_outputs(1.0, queries=dict(type="pcka_mmdet.QueryLoss")),
    # heads of the same classes that differ: the teacher's head reads the student's maps
    "teacher-head": _heads(head=dict(type="pcka_mmdet.HeadLoss")),
    # no common classes, or a head whose outputs are not known: centred CKA of about 64 patches on the finest two levels
    "maps": _recipe(
        0.03, pcka=dict(type="pcka_mmdet.PCKALoss", patch_size="auto", centering="center", strides="finest")
    ),
    "pcka": _recipe(pcka=_PCKA),
    "pcka-mimic": _recipe(pcka=_PCKA, mimic=_MIMIC),
    "pcka-positions": _recipe(pcka=_POSITIONS),
    "pcka-mimic-positions": _recipe(pcka=_POSITIONS, mimic=_MIMIC),
}
"""Settings of `FPNDistill` by recipe, for detectors. The last four are the paper's."""

HEAD_RECIPES = ("both-heads", "own-head", "predictions", "queries", "teacher-head")
"""Recipes that compare outputs of heads."""

CLASSIFIER_RECIPES: dict[str, dict[str, Any]] = {
    # CKA of the samples of a batch, of pooled features and of logits; for logits also of the classes. On 8 GPUs of 32
    # samples it compares 256. With constant weights of 1 the student of research/configs/classification/digits learned
    # nothing for 40 of 60 epochs (ten labels of each class, one run)
    "rcka": _recipe(
        1.0,
        features=dict(type="pcka_mmdet.RCKALoss", source="neck", loss_weight=1.0, gather=True),
        logits=dict(type="pcka_mmdet.RCKALoss", loss_weight=1.0, class_weight=1.0, gather=True),
    ),
    # patches of the last stage's maps
    "pcka-stage": _recipe(
        0.2, pcka=dict(type="pcka_mmdet.PCKALoss", source="backbone", patch_size=2, centering="center")
    ),
    # Hinton et al. 2015: KL divergence at a temperature of 4, times its square. Its weight and the next were chosen on
    # val of the digits: research/configs/classification/README.md
    "kd": _recipe(logits=dict(type="mmrazor.KLDivergence", source="logits", tau=4, loss_weight=0.1)),
    # Huang et al. 2022: correlation of the softmax over classes and over samples
    "dist": _recipe(
        logits=dict(
            type="mmrazor.DISTLoss",
            source="logits",
            tau=4,
            inter_loss_weight=1.0,
            intra_loss_weight=1.0,
            loss_weight=3.0,
        )
    ),
}
"""Settings of `FPNDistill` by recipe, for classifiers."""


def recipe_settings(
    recipe: str,
    teachers: Sequence[Detector],
    given: Mapping[str, Any] | None = None,
    student: Detector | None = None,
    scale: int = 1,
) -> ConfigDict:
    """Settings of `FPNDistill` for a recipe and its detectors, with the given ones merged into them.

    A dict replaces a value that is no dict. With a ratio by name (`balance=dict(ratio=dict(head=0.5))`) the losses that
    are not named keep the recipe's number.

    Raises:
        ValueError: The recipe is unknown.
    """
    known = RECIPES | CLASSIFIER_RECIPES
    if recipe not in known:
        raise ValueError(f"there is no recipe {recipe!r}: write one of {tuple(known)}")
    settings, given = ConfigDict(copy.deepcopy(known[recipe])), dict(given or {})
    _fit(settings.distiller.losses, losses_of(given), teachers, student, scale)
    ratio = ratio_of(settings)
    settings.merge(given)
    if isinstance(ratio_of(settings), Mapping) and not isinstance(ratio, Mapping):
        settings.balance.ratio = {**ratios_by_name(ratio, losses_of(settings)), **settings.balance.ratio}
    return settings


def losses_of(model: Mapping[str, Any]) -> dict[str, dict]:
    """The losses of an `FPNDistill` by name, without those that `None` leaves out."""
    losses = (model.get("distiller") or {}).get("losses") or {}
    return {name: loss for name, loss in losses.items() if loss is not None}


def ratio_of(model: Mapping[str, Any]) -> float | dict[str, float] | None:
    """The ratio that an `FPNDistill` balances its gradients at; `None` without one."""
    balance = model.get("balance")
    return balance.get("ratio") if isinstance(balance, Mapping) else None


def ratios_by_name(ratio: float | None, losses: Mapping[str, Mapping]) -> dict[str, float]:
    """A ratio for all losses as ratios by name. Gradients at a RoI head cannot be balanced."""
    return {name: ratio for name, loss in losses.items() if ratio is not None and loss.get("source") != "roi_head"}


def _fit(
    losses: ConfigDict, given: Mapping, teachers: Sequence[Detector], student: Detector | None, scale: int
) -> None:
    """Leave out losses on RoI heads that a side lacks, unless they are given, and let a DETR learn by its queries.

    With a `teacher_scale` above 1 no loss reads the teacher's RoI head.
    """
    if "roi" in losses and "roi" not in given and (scale > 1 or not all(map(_has_known_roi_head, teachers))):
        del losses["roi"]
    if "proposals" in losses and "proposals" not in given and not _has_known_roi_head(student):
        del losses["proposals"]
    if "boxes" in losses and (detr := _with(student, "decoder")) is not None and has_queries(detr):
        losses.boxes.source = "decoder"


def _has_known_roi_head(detector: Detector | None) -> bool:
    """Whether the outputs of a detector's RoI head are known."""
    built = _with(detector, "roi_head")
    return built is not None and problem_of_roi_head(built) is None


def _with(detector: Detector | None, part: str) -> BaseModel | None:
    """The detector, built if it has a part; `None` if it does not, or if its config is missing."""
    if isinstance(detector, BaseModel):
        return detector
    try:
        config = model_config(detector) if detector else {}
    except (FileNotFoundError, ValueError):
        return None  # building the distillation raises; a test of the student builds no teacher
    return build_detector(config, plain_norms=True) if config.get(part) else None


def write_out_recipe(model: dict[str, Any]) -> None:
    """Replace a recipe's name by its settings, in the model dict of an `FPNDistill`.

    A setting that is `FROM_RECIPE` counts as not given, as does a distiller that is `None`.
    """
    for name in RECIPE_SETTINGS:
        if model.get(name) == FROM_RECIPE:
            del model[name]
    recipe = model.pop("recipe", None)
    if recipe is None:
        return
    given = {name: model[name] for name in RECIPE_SETTINGS if name in model}
    if given.get("distiller") is None:
        given.pop("distiller", None)
    teachers = [teacher for teacher, _ in teachers_of(model)]
    settings = recipe_settings(recipe, teachers, given, model.get("architecture"), model.get("teacher_scale", 1))
    for name, value in settings.items():  # `ConfigDict.update` would merge them
        model[name] = value
