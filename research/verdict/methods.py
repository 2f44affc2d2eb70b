"""The methods that are compared, each with its grid of settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MIMIC = dict(type="pcka_mmdet.MimicLoss", loss_weight=1.0)
OWN_HEAD = dict(type="pcka_mmdet.OwnHeadLoss", loss_weight=1.0)
TEACHER_HEAD = dict(type="pcka_mmdet.HeadLoss", loss_weight=1.0)


def _pcka(centering: str) -> dict[str, Any]:
    return dict(type="pcka_mmdet.PCKALoss", loss_weight=10.0, patch_size="auto", centering=centering)


MAP_LOSSES = {
    "l2": MIMIC,
    "pkd": dict(type="mmrazor.PKDLoss", loss_weight=6.0),
    "channel-wise": dict(type="mmrazor.ChannelWiseDivergence", tau=1, loss_weight=10.0),
    "mgd": dict(type="pcka_mmdet.MaskedGenerationLoss", loss_weight=2e-5),
    "pcka-none": _pcka("none"),
    "pcka-center": _pcka("center"),
    "pcka-debias": _pcka("debias"),
}
"""Losses on maps of the neck. The gradient is balanced, so their weights do not matter."""

HEAD_LOSSES = {
    "dist": dict(dist=dict(type="mmrazor.DISTLoss", source="head", tau=1.0, loss_weight=1.0)),
    "own-head": dict(own=OWN_HEAD),
    "teacher-head": dict(head=TEACHER_HEAD),
    "both-heads": dict(own=OWN_HEAD, head=TEACHER_HEAD),
}
"""Losses on outputs of heads."""

LEVELS = {"finest": (8,), "two": (8, 16), "all": "auto"}
"""Strides that a loss on maps reads."""

RATIOS = (0.03, 0.1, 0.3, 1.0)
"""Norms of a method's gradient over the task's."""


@dataclass(frozen=True)
class Setting:
    """A method with its settings. `method='plain'` is the student alone."""

    method: str = "plain"
    ratio: float = 1.0
    levels: str = "all"
    """Name in `LEVELS`; for losses on maps."""
    maps: str | None = None
    """A loss on maps beside the method, at a ratio of its own."""
    maps_ratio: float = 0.0
    stop: float = 1.0
    """Share of the training after which the distillation stops."""

    @property
    def name(self) -> str:
        """The setting as a part of a file name."""
        parts = [self.method]
        if self.method != "plain":
            parts += [f"r{self.ratio:g}"]
            parts += [self.levels] if self.reads_maps else []
            parts += [f"{self.maps}{self.maps_ratio:g}"] if self.maps else []
            parts += [f"stop{self.stop:g}"] if self.stop < 1 else []
        return "_".join(parts)

    @property
    def reads_maps(self) -> bool:
        """Whether `levels` matters."""
        return self.method in MAP_LOSSES or self.maps is not None

    def losses(self) -> dict[str, dict]:
        """Loss configs by name."""
        on_maps = dict(strides=LEVELS[self.levels])
        losses = dict(maps=MAP_LOSSES[self.method] | on_maps) if self.method in MAP_LOSSES else HEAD_LOSSES[self.method]
        return losses | ({"beside": MAP_LOSSES[self.maps] | on_maps} if self.maps else {})

    def balance(self) -> dict[str, Any]:
        """The option `balance`. The losses of a source share one ratio, except a loss beside the method."""
        if self.maps is None:
            return dict(ratio=self.ratio)
        return dict(ratio={name: self.maps_ratio if name == "beside" else self.ratio for name in self.losses()})


METHODS = {
    "L2": ("l2",),
    "PKD": ("pkd",),
    "channel-wise": ("channel-wise",),
    "MGD": ("mgd",),
    "PCKA": ("pcka-none", "pcka-center", "pcka-debias"),
    "DIST": ("dist",),
    "own head": ("own-head",),
    "both heads": ("both-heads",),
}
"""The methods of equal budget, each with the names of its forms."""

OURS = ("own head", "both heads")
"""Those that this package adds. The others are published."""


def grid(own_head: bool = True) -> Iterator[Setting]:
    """The settings of `METHODS`."""
    for method in MAP_LOSSES:
        yield from (Setting(method, ratio, levels) for levels in ("two", "all") for ratio in RATIOS)
    if own_head:
        for method in ("dist", "own-head", "both-heads"):
            yield from (Setting(method, ratio) for ratio in RATIOS)
    # the paper's schedule and its two losses, each with a ratio of its own
    yield from (Setting("pcka-center", ratio, "two", stop=0.5) for ratio in RATIOS)
    yield from (Setting("pcka-center", ratio, "two", "l2", ratio / 3) for ratio in RATIOS)


def defaults() -> Iterator[Setting]:
    """Both heads with a loss on maps beside them: what a default might be."""
    for maps in ("l2", "pcka-center"):
        yield from (
            Setting("both-heads", 1.0, levels, maps, ratio) for levels in ("finest", "two") for ratio in (0.1, 0.3, 1.0)
        )


def first_look() -> Iterator[Setting]:
    """PCKA and L2 on the finest level and on the finest two. A ratio of 3 was 0.02 to 0.08 below one of 0.3 on BCCD."""
    for method in ("l2", "pcka-center"):
        yield from (Setting(method, ratio, levels) for levels in ("finest", "two") for ratio in (0.3, 1.0))
