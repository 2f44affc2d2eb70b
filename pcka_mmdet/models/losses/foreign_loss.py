"""Losses of two tensors that are no `LevelLoss`, for example MMRazor's."""

from typing import Any

from torch import Tensor, nn

from ..heads import reader_of
from ..sources import MAP_SOURCES, RoIOutputs, dense_head
from .level_loss import Batch, LevelLoss


class ForeignLoss(LevelLoss):
    """Wraps a loss of two tensors, which has its own weight.

    Of heads it compares the class logits, one row for each proposal (`roi_head`), or for each anchor at each position
    of a level (`head`).

    Args:
        loss: Module whose forward takes the student's and the teacher's output.
    """

    sources = (*MAP_SOURCES, "logits", "head", "roi_head")
    metric = "similarity.outputs"
    """Cosine of what the loss compares, each side as one vector; none where their shapes differ."""

    def __init__(self, loss: nn.Module):
        super().__init__(getattr(loss, "loss_weight", 1.0))
        self.loss = loss

    def forward(self, student: Any, teacher: Any, batch: Batch | None = None) -> Tensor:
        """Weighted loss as a scalar, from maps, logits, or the outputs of a head.

        Raises:
            ValueError: The heads differ in classes, anchors or positions, or one is of an unknown family.
        """
        if isinstance(student, Tensor):
            return super().forward(student, teacher, batch)
        if isinstance(student, RoIOutputs):
            rows = student.cls_score, teacher.cls_score
        else:
            readers = reader_of(dense_head(batch.student)), reader_of(batch.teacher.dense_head)
            logits = readers[0].class_logits(student), readers[1].class_logits(teacher)
            rows = tuple(side.movedim(2, -1).flatten(0, -2) for side in logits)
        if rows[0].shape != rows[1].shape:
            raise ValueError(
                f"{type(self.loss).__name__} compares class logits row by row, and the student's head gives "
                f"{tuple(rows[0].shape)} of them, the teacher's {tuple(rows[1].shape)}: both need the same classes and "
                "anchors. Use a loss on the neck maps"
            )
        return self.level_loss(*rows, batch)

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None) -> Tensor:
        teacher = teacher.detach()
        self.note_cosine(student, teacher)
        return self.loss(student.contiguous(), teacher.contiguous())  # some of MMRazor's take views of them
