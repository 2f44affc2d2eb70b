"""Losses on the raw outputs of dense heads: the teacher's head on the student's maps, or the student's own head."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..levels import Level, LevelPair
from ..sources import dense_head
from .connectors import Connectors
from .head_outputs import compare, difference_of_heads, kind_of, read_outputs
from .level_loss import Batch, LevelLoss

if TYPE_CHECKING:
    from ..teacher import Teacher

ON_MAPS = "use a loss on the neck maps, such as pcka_mmdet.PCKALoss"
"""What to do without a head whose outputs are known."""


class _HeadOutputLoss(LevelLoss):
    """Compares the outputs of two dense heads; see `HeadLoss`."""

    sources = ()
    joint = True
    metric: str
    """Similarity of the class scores of both sides: 1 - the sum of |p_s - p_t| over that of p_s + p_t, in [0, 1]."""

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0):
        super().__init__(loss_weight)
        self.box_weight = box_weight
        self.pairs: list[LevelPair] = []

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        """Note the levels."""
        self.pairs = [LevelPair(*pair) for pair in zip(student, teacher, strict=True)]

    def check_models(self, student: nn.Module, teacher: "Teacher") -> None:
        """Refuse a head of an unknown kind.

        Raises:
            ValueError: See `kind_of`.
        """
        try:
            kind_of(teacher.dense_head)
        except ValueError as error:
            raise ValueError(f"{error}: {ON_MAPS}") from error

    def compared(
        self,
        student: Sequence[Sequence[Tensor]],
        teacher: Sequence[Sequence[Tensor]],
        student_head: nn.Module,
        teacher_head: nn.Module,
    ) -> Tensor:
        """Weighted loss of the raw outputs of two heads, by level.

        Where one side has one row or column more, it is left out: of odd sides some necks make half rounded up (FPN),
        others rounded down (HRFPN).

        Raises:
            ValueError: They differ by more in height or width at a level.
        """
        sums = []
        for own, other, (level, _) in zip(student, teacher, self.pairs, strict=True):
            (height, width), (rows, columns) = sizes = [tuple(outputs[0].shape[2:]) for outputs in (own, other)]
            if abs(height - rows) > 1 or abs(width - columns) > 1:
                raise ValueError(
                    f"{type(self).__name__}: at stride {level.stride} the student's outputs have {sizes[0]} positions "
                    f"and the teacher's {sizes[1]}. Outputs of heads are not resized: use a loss on the neck maps"
                )
            own, other = (
                [output[:, :, : min(height, rows), : min(width, columns)] for output in side] for side in (own, other)
            )
            sides = read_outputs(student_head, own, level.stride), read_outputs(teacher_head, other, level.stride)
            sums.append(compare(*sides, kind_of(teacher_head)))
        *by_class, differences, all_scores = (sum(values) for values in zip(*sums, strict=True))
        self.similarity = 1 - differences / all_scores.clamp(min=1e-6)
        factors = class_factors(by_class[-1])
        classes, boxes, weights = ((factors * values).sum() for values in by_class)
        return self.loss_weight * (classes + self.box_weight * boxes) / weights.clamp(min=1)


def class_factors(weights: Tensor) -> Tensor:
    """Factor of each class, from its sum of weights: the root of the mean over it.

    The mean is over the classes with a sum of 1 at least; others have a factor of 1.
    """
    seen = weights >= 1
    mean = (weights * seen).sum() / seen.sum().clamp(min=1)
    return torch.where(seen, (mean / weights.clamp(min=1)).sqrt(), torch.ones_like(weights))


@MODELS.register_module()
class HeadLoss(_HeadOutputLoss):
    """Compares the outputs of the teacher's frozen head for the student's maps with those for the teacher's maps.

    The student's neck maps go through a 1x1 connector, where channels differ, and through the teacher's head. The
    student's own head may be of any kind: it is not read. Of a two-stage teacher, the head is the RPN.

    Class scores are compared by binary cross-entropy, boxes by GIoU or KL divergence; see `head_outputs.compare`. The
    sum over all levels is divided by the sum of the teacher's scores, or by 1 if that is less. Student and teacher need
    the same classes, which the loss does not check; `tools/train.py --teacher` does, if it chooses the recipe.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box terms relative to the class term.
        images: Share of a batch's images that are compared, above 0 and up to 1. They are the first ones; their number
            is rounded up. The cost of the head's passes for the student's maps falls with it.

    Raises:
        ValueError: `images` is out of its range.
    """

    source = ("neck", "head")
    metric = "similarity.head"

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0, images: float = 1.0):
        super().__init__(loss_weight, box_weight)
        if not 0 < images <= 1:
            raise ValueError(f"HeadLoss: images is a share above 0 and up to 1, such as 0.5; got {images}")
        self.images = images

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        """Build a connector for each level whose channels differ."""
        super().prepare(student, teacher)
        self.connectors = Connectors(self.pairs)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[tuple[Tensor, ...]], batch: Batch) -> Tensor:
        """Weighted loss, from the student's maps `(B, C, H, W)` and the head's outputs for the teacher's, by level."""
        head, count = batch.teacher.dense_head, math.ceil(self.images * len(student[0]))
        maps = self.connectors.placed([level[:count] for level in student], batch.teacher.num_levels)
        outputs = batch.teacher.head(maps)
        teacher = [[output[:count] for output in level] for level in teacher]
        return self.compared([outputs[other.index] for _, other in self.pairs], teacher, head, head)

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        """Share of the images, and connectors."""
        share = f" on {self.images:.0%} of the images" if self.images < 1 else ""
        return [f"the teacher's head{share}", *self.connectors.details()]


@MODELS.register_module()
class OwnHeadLoss(_HeadOutputLoss):
    """Compares the outputs of the student's own head with those of the teacher's head; see `HeadLoss`.

    Both heads must have the same classes, anchors (or points) and box coder. It has no parameters, and the teacher's
    head runs only without gradient.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box terms relative to the class term.
    """

    source = "head"
    metric = "similarity.own_head"

    def check_models(self, student: nn.Module, teacher: "Teacher") -> None:
        """Refuse a pair of heads that cannot be compared.

        Raises:
            ValueError: They differ in classes, anchors or box coder, or one of them is of an unknown kind.
        """
        try:
            problem = difference_of_heads(dense_head(student), teacher.dense_head, self.pairs)
        except ValueError as error:
            raise ValueError(f"{error}: {ON_MAPS}") from error
        if problem:
            raise ValueError(
                f"OwnHeadLoss compares the heads of student and teacher position by position, but {problem}: use "
                "pcka_mmdet.HeadLoss, which runs the teacher's head on the student's maps"
            )

    def forward(
        self, student: Sequence[tuple[Tensor, ...]], teacher: Sequence[tuple[Tensor, ...]], batch: Batch
    ) -> Tensor:
        """Weighted loss of the raw outputs of both heads, by level."""
        return self.compared(student, teacher, dense_head(batch.student), batch.teacher.dense_head)

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        """Whose head it is."""
        return ["the student's head"]
