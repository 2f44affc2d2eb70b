"""Teacher-student pairs of every family, on BCCD, DeepPCB and the digits, and the methods that are compared on each."""

from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from pcka_mmdet.engine.recipe import make_distillation

BOXES = dict(type="pcka_mmdet.PredictionLoss")
PROPOSALS = BOXES | dict(source="roi_head")
OWN_HEAD = dict(type="pcka_mmdet.OwnHeadLoss")
TEACHER_HEAD = dict(type="pcka_mmdet.HeadLoss")
ROI_HEAD = dict(type="pcka_mmdet.RoIHeadLoss")
FINEST = dict(type="pcka_mmdet.MimicLoss", strides=(8,))
PCKA = dict(type="pcka_mmdet.PCKALoss", patch_size="auto", centering="center", strides="finest")
QUERIES = dict(type="pcka_mmdet.QueryLoss")
MEMORY = dict(type="pcka_mmdet.MimicLoss", source="memory", by_scores=True)


@dataclass(frozen=True)
class Method:
    """The losses of a method, and their ratios."""

    losses: dict[str, dict]
    ratio: float | dict[str, float] | None = 1.0
    by_output: bool = False

    def apply(self, config: Config, **sides: Any) -> None:
        """Turn a student's config into its distillation's, in place. `sides` are options of `FPNDistill`."""
        balance = dict(ratio=self.ratio, **(dict(by_output=True) if self.by_output else {}))
        distiller = dict(type="pcka_mmdet.FPNDistiller", losses=self.losses)
        make_distillation(config, dict(architecture=config.model, **sides), distiller, balance)


METHODS = {
    "predictions": Method(dict(boxes=BOXES)),
    "predictions-0.3": Method(dict(boxes=BOXES), 0.3),
    "predictions-by-output": Method(dict(boxes=BOXES), by_output=True),
    "predictions-finest": Method(dict(boxes=BOXES, maps=FINEST), dict(boxes=1.0, maps=0.3)),
    "predictions-teacher-head": Method(dict(boxes=BOXES, head=TEACHER_HEAD)),
    "predictions-proposals": Method(dict(boxes=BOXES, proposals=PROPOSALS), dict(boxes=1.0)),
    "teacher-head": Method(dict(head=TEACHER_HEAD)),
    "teacher-roi-head": Method(dict(head=TEACHER_HEAD, roi=ROI_HEAD)),
    "finest": Method(dict(maps=FINEST), 0.3),
    "maps": Method(dict(maps=PCKA), 0.03),
    "own-head": Method(dict(own=OWN_HEAD)),
    "own-head-by-output": Method(dict(own=OWN_HEAD), by_output=True),
    "both-heads": Method(dict(own=OWN_HEAD, head=TEACHER_HEAD)),
    "both-heads-by-output": Method(dict(own=OWN_HEAD, head=TEACHER_HEAD), by_output=True),
    "queries": Method(dict(queries=QUERIES)),
    "general-queries": Method(dict(queries=QUERIES | dict(general=30))),
    "queries-memory": Method(dict(queries=QUERIES, memory=MEMORY), dict(queries=1.0, memory=0.3)),
    "decoder-predictions": Method(dict(boxes=BOXES | dict(source="decoder"))),
}
"""By name."""

DEFAULT = ("both-heads",)
"""The method that the tuned benchmark chose, on the pairs of its detectors."""

OTHER_HEADS = (
    "predictions",
    "predictions-0.3",
    "predictions-finest",
    "predictions-teacher-head",
    "teacher-head",
    "finest",
    "maps",
)
SAME_HEADS = (
    *("own-head", "own-head-by-output", "both-heads", "both-heads-by-output"),
    *("predictions", "predictions-by-output", "predictions-teacher-head", "finest"),
)


@dataclass(frozen=True)
class Pair:
    """A teacher and a student, and what is compared."""

    student: str
    """Folder of `student.py` in `research/configs`."""
    teacher: str
    """Folder of `teacher.py` there."""
    methods: tuple[str, ...] = ()
    methods_of: str = ""
    """The pair whose best method is taken over, in place of `methods`."""
    epochs: int = 60
    teacher_epochs: int = 80
    teacher_augmentation: str = "affine"
    """Further than that of the teacher's config."""
    learning_rates: tuple[float, ...] = (6e-3, 2.4e-2, 4.8e-2)
    """Peaks that the student's tuning tries."""
    data: str = "bccd"
    seeds: int = 5
    """Of the results."""
    head: str = ""
    """Folder there, of the student whose type, head and assigner replace those of both sides."""
    detectors: str = ""
    """Folder there, whose detectors and learning rates replace those of both sides."""
    teacher_scale: int = 1
    """Side of the teacher's images over that of the student's; 2 for a RetinaNet."""


BOARDS = dict(
    data="deeppcb", epochs=36, teacher_epochs=20, teacher_augmentation="base", learning_rates=(6e-3, 1.2e-2, 2.4e-2)
)
"""Of pairs on DeepPCB. Its teachers have no affine augmentation: with it they were worse."""

PAIRS = {
    "retinanet": Pair("bccd/small", "bccd/small", DEFAULT),
    "fcos-retinanet": Pair("bccd/small", "bccd/two_families", OTHER_HEADS, seeds=10),
    "retinanet-fcos": Pair("bccd/fcos", "bccd/small", OTHER_HEADS, seeds=10),
    "faster-retinanet": Pair("bccd/small", "bccd/two_stage", (*OTHER_HEADS, "teacher-roi-head")),
    "retinanet-faster": Pair("bccd/two_stage", "bccd/small", (*OTHER_HEADS, "predictions-proposals")),
    "rtmdet": Pair("bccd/rtmdet", "bccd/rtmdet", SAME_HEADS),
    "yolox": Pair("bccd/yolox", "bccd/yolox", SAME_HEADS),
    "rtmdet-deeppcb": Pair("deeppcb", "deeppcb/imagenet", methods_of="rtmdet", head="bccd/rtmdet", seeds=3, **BOARDS),
    "yolox-deeppcb": Pair("deeppcb", "deeppcb/imagenet", methods_of="yolox", head="bccd/yolox", seeds=3, **BOARDS),
    "dino": Pair(
        "bccd/dino",
        "bccd/dino",
        ("queries", "general-queries", "queries-memory"),
        epochs=120,
        seeds=3,
        teacher_epochs=160,
        learning_rates=(1e-3, 2e-3, 4e-3),
    ),
    "retinanet-dino": Pair(
        "bccd/dino",
        "bccd/small",
        ("decoder-predictions", "finest"),
        epochs=120,
        seeds=3,
        learning_rates=(1e-3, 2e-3, 4e-3),
    ),
    "deformable": Pair(
        "bccd/deformable",
        "bccd/deformable",
        methods_of="dino",
        epochs=120,
        seeds=3,
        teacher_epochs=160,
        learning_rates=(1e-3, 2e-3, 4e-3),
    ),
    "dino-digits": Pair(
        "demo",
        "demo",
        methods_of="dino",
        epochs=40,
        teacher_epochs=80,
        learning_rates=(1e-3, 2e-3, 4e-3),
        data="digit_scenes",
        seeds=3,
        detectors="bccd/dino",
    ),
    "retinanet-large": Pair("bccd/small", "bccd/small", DEFAULT, teacher_scale=2),
    "deeppcb": Pair("deeppcb", "deeppcb/imagenet", DEFAULT, **BOARDS),
    "deeppcb-large": Pair("deeppcb", "deeppcb/imagenet", DEFAULT, teacher_scale=2, **BOARDS),
}
"""By the families of teacher and student. A teacher that is `large` sees twice the size."""
