"""The methods that `research/methods/__main__.py` compares: their losses, and four settings of each on a log scale."""

import copy
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from pcka_mmdet.engine.recipe import make_distillation
from pcka_mmdet.models.recipes import RECIPES

WEIGHTS = (0.01, 0.1, 1.0, 10.0)
"""Settings of constant weights: times the published ones."""

RATIOS = (0.1, 0.3, 1.0, 3.0)
"""Settings of balanced gradients: norm over the task's."""

PLAIN = "plain"
"""Name of the student without distillation."""

LONGER = "plain-longer"
"""Name of the student without distillation that trains for the time of the distilled one; see
`data_sets.DataSet.longer`."""

HALF_MORE = "plain-half-more"
"""Name of the student without distillation that trains for 1.5 times the epochs: whether `PLAIN` has converged."""

HEADS_HALF_MORE = "both-heads-half-more+balance"
"""Name of the default recipe, trained for 1.5 times the epochs."""

MIDDLE = 1.0
"""The setting that is tried if only one is: the published weights, or the ratio 1."""


@dataclass(frozen=True)
class Method:
    """Losses on a student and how they are weighted. A method without losses is the student alone."""

    losses: dict[str, dict] = field(default_factory=dict)
    """Loss configs by name; `loss_weight` is the published one."""
    balanced: bool = False
    """Whether the gradient is scaled to a ratio; else the weights are constant, as published."""
    shares: dict[str, float] = field(default_factory=dict)
    """Shares of the setting by name of the loss; each loss then has a ratio of its own, and 1 if it is not named.
    Empty: all losses at a source share one ratio."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of `FPNDistill`."""
    hooks: tuple[dict, ...] = ()
    """Hooks of the training (`custom_hooks`) besides the config's."""
    fixed: bool = False
    """Whether it is tried at `MIDDLE` alone, as a variant of the recipe."""

    @property
    def settings(self) -> tuple[float, ...]:
        """Ratios, or factors of the published weights."""
        if not self.losses or self.fixed:
            return (MIDDLE,)
        return RATIOS if self.balanced else WEIGHTS

    def apply(self, config: Config, setting: float, teacher: dict[str, Any]) -> Config:
        """The config of a student, distilled.

        Args:
            config: The student's; it is left as it is.
            setting: One of `settings`.
            teacher: `teacher` and `teacher_ckpt` of `FPNDistill`.
        """
        config = copy.deepcopy(config)
        if self.hooks:
            config.custom_hooks = [*(config.get("custom_hooks") or []), *copy.deepcopy(self.hooks)]
        if not self.losses:
            return config
        losses = copy.deepcopy(self.losses)
        if "roi_head" in config.model and BOTH_HEADS.keys() & losses.keys():
            losses["roi"] = dict(HEAD_LOSSES["roi"])  # as in the recipes
        if not self.balanced:
            for loss in losses.values():
                loss["loss_weight"] *= setting
        distiller = dict(type="pcka_mmdet.FPNDistiller", losses=losses)
        ratio = {name: setting * self.shares.get(name, 1.0) for name in losses} if self.shares else setting
        balance = dict(ratio=ratio) if self.balanced else None
        make_distillation(config, dict(architecture=config.model, **teacher, **self.options), distiller, balance)
        return config


def _pcka(centering: str) -> dict:
    return dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size="auto", centering=centering)


MIMIC = RECIPES["pcka-mimic"]["distiller"]["losses"]["mimic"]

HEAD_LOSSES = {name: dict(loss, loss_weight=1.0) for name, loss in RECIPES["both-heads"]["distiller"]["losses"].items()}
BOTH_HEADS = {name: HEAD_LOSSES[name] for name in ("own", "head")}

LOSSES: dict[str, dict[str, dict]] = {
    "mimic": dict(mimic=MIMIC),
    "pkd": dict(pkd=dict(type="mmrazor.PKDLoss", loss_weight=6.0)),
    "channel-wise": dict(channels=dict(type="mmrazor.ChannelWiseDivergence", tau=1, loss_weight=10.0)),
    "mgd": dict(generation=dict(type="pcka_mmdet.MaskedGenerationLoss", loss_weight=2e-5)),
    "dist-head": dict(dist=dict(type="mmrazor.DISTLoss", source="head", tau=1.0, loss_weight=1.0)),
    "own-head": dict(own=HEAD_LOSSES["own"]),
    "teacher-head": dict(head=HEAD_LOSSES["head"]),
    "both-heads": BOTH_HEADS,
    "pcka-none": dict(pcka=_pcka("none")),
    "pcka-center": dict(pcka=_pcka("center")),
    "pcka-debias": dict(pcka=_pcka("debias")),
    "pcka-mimic": dict(pcka=_pcka("center"), mimic=MIMIC),
}
"""Published weights: PKD's and channel-wise distillation's of MMRazor's configs, MGD's of its paper, and the defaults
of MMRazor's DIST."""

EMA = dict(type="EMAHook", momentum=0.01)
"""Averages the weights over about the last 100 steps."""

METHODS: dict[str, Method] = {
    PLAIN: Method(),
    "plain-ema": Method(hooks=(EMA,)),
    LONGER: Method(),
    HALF_MORE: Method(),
    **{name: Method(losses) for name, losses in LOSSES.items()},
    **{f"{name}+balance": Method(losses, balanced=True) for name, losses in LOSSES.items()},
    HEADS_HALF_MORE: Method(BOTH_HEADS, balanced=True, fixed=True),
    "half-heads+balance": Method(
        dict(BOTH_HEADS, head=dict(HEAD_LOSSES["head"], images=0.5)), balanced=True, fixed=True
    ),
    "bf16-heads+balance": Method(BOTH_HEADS, balanced=True, fixed=True, options=dict(teacher_precision="bf16")),
    **{
        f"heads-{name}+balance": Method(dict(**BOTH_HEADS, pcka=loss), balanced=True, fixed=True, shares=dict(pcka=0.2))
        for name, loss in {
            "pcka": _pcka("center"),
            "pcka-debias": _pcka("debias"),
            "backbone": dict(_pcka("center"), source="backbone"),
        }.items()
    },
    "heads-ema+balance": Method(BOTH_HEADS, balanced=True, fixed=True, hooks=(EMA,)),
    "heads-every-second+balance": Method(
        BOTH_HEADS, balanced=True, fixed=True, hooks=(dict(type="pcka_mmdet.LossScheduleHook", every=2),)
    ),
}
