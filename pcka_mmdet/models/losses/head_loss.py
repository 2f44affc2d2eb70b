"""Losses on the raw outputs of dense heads: the teacher's head on the student's maps, or the student's own head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..levels import Level
from ..sources import dense_head
from .head_outputs import compare, difference_of_heads, kind_of, read_outputs
from .level_loss import Batch, LevelLoss

if TYPE_CHECKING:
    from ..teacher import Teacher


class _HeadOutputLoss(LevelLoss):
    """Compares the outputs of two dense heads; see `head_outputs.compare`.

    The sum over all levels is divided by the sum of the teacher's scores.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box terms relative to the class term.
    """

    sources = ()
    joint = True

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0):
        super().__init__(loss_weight)
        self.box_weight = box_weight
        self.levels: list[Level] = []
        """Levels of the teacher that are paired with one of the student's."""

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        """Note the levels."""
        self.levels = list(teacher)

    def check_models(self, student: nn.Module, teacher: "Teacher") -> None:
        """Refuse a head of an unknown kind.

        Raises:
            ValueError: See `kind_of`.
        """
        kind_of(teacher.dense_head)

    def compared(
        self,
        student: Sequence[Sequence[Tensor]],
        teacher: Sequence[Sequence[Tensor]],
        student_head: nn.Module,
        teacher_head: nn.Module,
    ) -> Tensor:
        """Weighted loss of the raw outputs of two heads, by level."""
        sums = [
            compare(
                read_outputs(student_head, own, level.stride),
                read_outputs(teacher_head, other, level.stride),
                teacher_head,
            )
            for own, other, level in zip(student, teacher, self.levels, strict=True)
        ]
        classes, boxes, scores = (sum(values) for values in zip(*sums, strict=True))
        return self.loss_weight * (classes + self.box_weight * boxes) / scores.clamp(min=1e-6)


@MODELS.register_module()
class HeadLoss(_HeadOutputLoss):
    """Compares the outputs of the teacher's frozen head for the student's maps with those for the teacher's maps.

    The student's neck maps go through a 1x1 connector, where channels differ, and through the teacher's head. The
    student's own head may be of any kind: it is not read. Of a two-stage teacher, the head is the RPN.

    Class scores are compared by binary cross-entropy to the teacher's probabilities p_t, weighted by |p_s - p_t|. Box
    codes and box quality (centerness) are weighted by the teacher's score, the largest p_t of the position's classes.
    The sum over all levels is divided by the sum of the teacher's scores.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box terms relative to the class term.
    """

    source = ("neck", "head")

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0):
        super().__init__(loss_weight, box_weight)
        self.connectors = nn.ModuleDict()

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        """Build a connector for each level whose channels differ."""
        super().prepare(student, teacher)
        for own, other in zip(student, teacher, strict=True):
            if self.needs_connector(own.channels, other.channels):
                self.connectors[f"s{own.stride}"] = nn.Conv2d(own.channels, other.channels, kernel_size=1)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[tuple[Tensor, ...]], batch: Batch) -> Tensor:
        """Weighted loss, from the student's maps `(B, C, H, W)` and the head's outputs for the teacher's, by level."""
        head, outputs = batch.teacher.dense_head, batch.teacher.head(self._placed(student, batch.teacher.num_levels))
        return self.compared([outputs[level.index] for level in self.levels], teacher, head, head)

    def _placed(self, student: Sequence[Tensor], num_levels: int) -> list[Tensor | None]:
        """The student's maps after the connectors, each at the index of the teacher's level of equal stride."""
        maps: list[Tensor | None] = [None] * num_levels
        for level, own in zip(self.levels, student, strict=True):
            key = f"s{level.stride}"
            maps[level.index] = self.connectors[key](own) if key in self.connectors else own
        return maps

    def describe(self, size: Sequence[int]) -> str:
        """Weight, and connectors."""
        connected = f", connectors at {', '.join(self.connectors)}" if self.connectors else ""
        return f"weight {self.loss_weight:g}, the teacher's head{connected}"


@MODELS.register_module()
class OwnHeadLoss(_HeadOutputLoss):
    """Compares the outputs of the student's own head with those of the teacher's head; see `HeadLoss`.

    Both heads must have the same classes, anchors (or points) and box codes. It has no parameters, and the teacher's
    head runs only without gradient.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box terms relative to the class term.
    """

    source = "head"

    def check_models(self, student: nn.Module, teacher: "Teacher") -> None:
        """Refuse a pair of heads that cannot be compared.

        Raises:
            ValueError: They differ in classes, anchors or box codes, or one of them is of an unknown kind.
        """
        problem = difference_of_heads(dense_head(student), teacher.dense_head)
        if problem:
            raise ValueError(
                f"OwnHeadLoss compares the heads of student and teacher position by position, and {problem}: use "
                "pcka_mmdet.HeadLoss, which runs the teacher's head on the student's maps"
            )

    def forward(
        self, student: Sequence[tuple[Tensor, ...]], teacher: Sequence[tuple[Tensor, ...]], batch: Batch
    ) -> Tensor:
        """Weighted loss of the raw outputs of both heads, by level."""
        return self.compared(student, teacher, dense_head(batch.student), batch.teacher.dense_head)

    def describe(self, size: Sequence[int]) -> str:
        """Weight."""
        return f"weight {self.loss_weight:g}, the student's head"
