"""A loss that gives a teacher's boxes and scores, of any family, to the student's own head.

Shape shorthand: B images, M slots of the student's head (anchors or points of all levels), N boxes, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..heads import boxes, reader_of
from ..levels import Level, LevelPair
from ..sources import dense_head
from ..teacher.predictions import Predictions
from ..teacher.teacher import Teacher
from .head_loss import JointHeadLoss, Sums
from .level_loss import Batch


@MODELS.register_module()
class PredictionLoss(JointHeadLoss):
    """The student's head learns the teacher's boxes and class scores, by the assigner of its own training.

    The teacher may be of any family with a box head: anchors, points, two stages or queries. Its 100 best boxes without
    duplicates take the place of objects: the student's head assigns them to its anchors or points as in its own
    training (`HeadReader.assign`). An anchor that is to predict a box has the box's class scores as targets, times how
    far it is to predict it; one that is to predict none has 0. Class scores: binary cross-entropy, weighted by the
    absolute difference. Boxes: 2 (1 - GIoU), weighted by the highest target. The sum is divided by that of the weights
    of boxes, or by 1 if that is less. Both sides need the same classes.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box term relative to the class term.
    """

    source = ("head", "predictions")
    paired = False
    reads_larger_images = False
    metric = "similarity.predictions"
    """1 - the sum of |p_s - t| over that of p_s + t, of class scores and targets, in [0, 1]."""

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        self.pairs = [LevelPair(*pair) for pair in zip(student, teacher, strict=True)]

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for heads of unknown families, and for different numbers of classes."""
        reader_of(dense_head(student))
        classes = [dense_head(student).cls_out_channels, teacher.num_classes]
        if classes[0] not in (1, classes[1]):  # an RPN scores objects
            raise ValueError(
                f"PredictionLoss needs the same classes: the student has {classes[0]}, the teacher {classes[1]}"
            )

    def forward(self, student: Sequence[tuple[Tensor, ...]], teacher: Predictions, batch: Batch) -> Tensor:
        """Weighted loss of the raw outputs of the student's head, by level, to the teacher's predictions."""
        reader = reader_of(dense_head(batch.student))
        slots = reader.slots(student, [pair.student for pair in self.pairs])
        found, scores = teacher.boxes, teacher.scores
        if slots.logits.shape[2] == 1:
            scores = scores.amax(2, keepdim=True)
        detached = slots._replace(logits=slots.logits.detach(), boxes=slots.boxes.detach())
        assigned = [reader.assign(detached, image, *of) for image, of in enumerate(zip(found, scores, strict=True))]
        index, fits = (torch.stack(parts)[..., None] for parts in zip(*assigned, strict=True))  # (B, M, 1)
        targets = scores.gather(1, index.expand(-1, -1, scores.shape[2])) * fits
        entropy, predicted = reader.class_entropy(slots, targets)
        weights, of_boxes = (predicted - targets).abs(), targets.amax(2)
        difference = boxes.difference(slots.boxes, found.gather(1, index.expand(-1, -1, 4)))
        sums = Sums(
            (entropy * weights).sum(),
            (difference * of_boxes).sum(),
            of_boxes.sum(),
            weights.sum(),
            (predicted + targets).sum(),
        )
        return self.weighted([sums])

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        return ["the teacher's boxes"]
