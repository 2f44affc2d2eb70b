"""A loss on the outputs of the teacher's head for the student's maps.

Shape shorthand: B images, A anchors (or 1 point) per position, C classes, K values of a box code, H x W positions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..levels import Level
from .head_outputs import BoxDifference, box_difference, by_anchor
from .level_loss import Batch, LevelLoss

if TYPE_CHECKING:
    from ..teacher import Teacher


@MODELS.register_module()
class HeadLoss(LevelLoss):
    """Compares the outputs of the teacher's frozen head for the student's maps with those for the teacher's maps.

    The student's neck maps go through a 1x1 connector, where channels differ, and through the teacher's head. Class
    scores are compared by binary cross-entropy to the teacher's probabilities p_t, weighted by |p_s - p_t|. Box
    codes and box quality (centerness) are weighted by the teacher's score, the largest p_t of the position's classes.
    The sum over all levels is divided by the sum of the teacher's scores. The student's own head may be of any kind:
    it is not read.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box terms relative to the class term.
    """

    source = ("neck", "head")
    sources = ()
    joint = True

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0):
        super().__init__(loss_weight)
        self.box_weight = box_weight
        self.connectors = nn.ModuleDict()
        self.levels: list[Level] = []
        """Levels of the teacher that are paired with one of the student's."""

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        """Build a connector for each level whose channels differ."""
        self.levels = list(teacher)
        for own, other in zip(student, teacher, strict=True):
            if self.needs_connector(own.channels, other.channels):
                self.connectors[f"s{own.stride}"] = nn.Conv2d(own.channels, other.channels, kernel_size=1)

    def check_teacher(self, teacher: "Teacher") -> None:
        """Refuse a head of an unknown kind.

        Raises:
            ValueError: See `box_difference`.
        """
        box_difference(teacher.dense_head)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[tuple[Tensor, ...]], batch: Batch) -> Tensor:
        """Weighted loss, from the student's maps `(B, C, H, W)` and the head's outputs for the teacher's, by level."""
        head = batch.teacher.dense_head
        difference = box_difference(head)
        outputs = batch.teacher.head(self._placed(student, batch.teacher.num_levels))
        own = [outputs[level.index] for level in self.levels]
        sums = [
            self._level_sums(*sides, level.stride, difference, head.cls_out_channels)
            for *sides, level in zip(own, teacher, self.levels, strict=True)
        ]
        classes, boxes, scores = (sum(values) for values in zip(*sums, strict=True))
        return self.loss_weight * (classes + self.box_weight * boxes) / scores.clamp(min=1e-6)

    def _placed(self, student: Sequence[Tensor], num_levels: int) -> list[Tensor | None]:
        """The student's maps after the connectors, each at the index of the teacher's level of equal stride."""
        maps: list[Tensor | None] = [None] * num_levels
        for level, own in zip(self.levels, student, strict=True):
            key = f"s{level.stride}"
            maps[level.index] = self.connectors[key](own) if key in self.connectors else own
        return maps

    @staticmethod
    def _level_sums(
        student: Sequence[Tensor], teacher: Sequence[Tensor], stride: int, difference: BoxDifference, classes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over a level: class loss, box loss, and the teacher's scores."""
        anchors = teacher[0].shape[1] // classes
        logits, boxes, *quality = (by_anchor(output, anchors) for output in student)
        their_logits, their_boxes, *their_quality = (by_anchor(output, anchors) for output in teacher)
        target = their_logits.sigmoid()
        weight = (logits.detach().sigmoid() - target).abs()
        class_sum = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum()
        scores = target.amax(2)
        box_sum = (difference(boxes, their_boxes, stride) * scores).sum()
        for own, other in zip(quality, their_quality, strict=True):
            entropy = F.binary_cross_entropy_with_logits(own, other.sigmoid(), reduction="none").squeeze(2)
            box_sum = box_sum + (entropy * scores).sum()
        return class_sum, box_sum, scores.sum()

    def describe(self, size: Sequence[int]) -> str:
        """Weight, and connectors."""
        connected = f", connectors at {', '.join(self.connectors)}" if self.connectors else ""
        return f"weight {self.loss_weight:g}, the teacher's head{connected}"
