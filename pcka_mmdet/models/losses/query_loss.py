"""A loss on the outputs of a DETR for the teacher's queries. B images, N queries, D channels."""

from collections.abc import Sequence

from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..heads import boxes, class_entropy
from ..levels import Level
from ..outputs import zero_of
from ..queries import Queries, QueryOutputs, has_queries, in_pixels, problem_of_decoder
from ..teacher.teacher import Teacher
from .head_loss import JointHeadLoss, weighted_sums
from .level_loss import Batch


@MODELS.register_module()
class QueryLoss(JointHeadLoss):
    """Compares the outputs of two DETRs for the same queries, one by one (KD-DETR, arXiv:2211.08071).

    The teacher's queries go through the student's decoder and head beside its own, which do not see them. Where widths
    differ, a linear connector changes the content. Layers of the decoder are compared from the last one on, as many as
    both have; `weighted_sums` has the formulas, boxes differ by 2 (1 - GIoU). Both sides need the same classes, and
    class scores by a sigmoid.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box term relative to the class term.
        general: Number of general queries, at random places, beside the teacher's own.
    """

    source = "queries"
    metric = "similarity.queries"
    """1 - the sum of |p_s - p_t| over that of p_s + p_t, of the class scores, in [0, 1]."""

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0, general: int = 0):
        super().__init__(loss_weight, box_weight)
        if general < 0:
            raise ValueError(f"QueryLoss: general is a number of queries, 0 or more, got {general}")
        self.general = general

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        widths = teacher[0].channels, student[0].channels
        if widths[0] != widths[1]:
            self.connectors.update({name: nn.Linear(*widths) for name in ("query", "query_pos")})

    def connected_queries(self, queries: Queries) -> Queries:
        """The teacher's queries in the student's width."""
        connected = dict(queries)
        for name, connector in self.connectors.items():
            if name in queries and queries[name].shape[-1] == connector.in_features:  # DAB-DETR's positions are boxes
                connected[name] = connector(queries[name])
        return connected

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for detectors of other families, and for heads whose class scores do not compare."""
        if problem := problem_of_queries(student, teacher.detector):
            raise ValueError(f"QueryLoss: {problem}")

    def forward(self, student: Sequence[QueryOutputs], teacher: Sequence[QueryOutputs], batch: Batch) -> Tensor:
        """Weighted loss of the outputs by layer."""
        sums = []
        for own, wanted in zip(student, teacher, strict=True):
            targets = wanted.logits.sigmoid()
            corners = (in_pixels(side.boxes, batch.image_size) for side in (own, wanted))
            difference = boxes.difference(*corners)
            sums.append(weighted_sums(*class_entropy(own.logits, targets), targets, difference))
        # some decoders take no `query_pos`
        return self.weighted(sums) + zero_of(self.connectors.parameters(), student[0].logits)

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        words = ["the teacher's queries", *([f"{self.general} general ones"] if self.general else [])]
        return [*words, *(["connectors"] if len(self.connectors) else [])]


def problem_of_queries(student: nn.Module, teacher: nn.Module) -> str | None:
    """Why `QueryLoss` cannot compare two detectors; `None` if it can."""
    sides = dict(student=student, teacher=teacher)
    others = [f"the {side} is a {type(one).__name__}" for side, one in sides.items() if not has_queries(one)]
    if others:
        return f"it compares detectors of DETR's family, and {' and '.join(others)}"
    if type(student) is not type(teacher):
        kinds = type(teacher).__name__, type(student).__name__
        return f"the queries of a {kinds[0]} mean nothing to a {kinds[1]}: choose a teacher of the student's family"
    classes = {side: one.bbox_head.cls_out_channels for side, one in sides.items()}
    if len(set(classes.values())) > 1:
        return f"the heads score {' and '.join(map(str, classes.values()))} classes, and it needs the same ones"
    problems = [problem_of_decoder(one, side, learns=True) for side, one in sides.items()]
    return next(filter(None, problems), None)
