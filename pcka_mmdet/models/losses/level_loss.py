"""What the losses of one pair of feature maps have in common.

Shape shorthand: a map is `(B, C, H, W)`; neck outputs are a tuple of maps, one a level.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

Maps = Tensor | Sequence[Tensor]


class LevelLoss(nn.Module):
    """Base of the losses that compare a student's map with the teacher's: one map each, or one tuple of neck maps each.

    A subclass implements `level_loss`. `FPNDistiller` asks it, when the model is built, whether a level needs a
    connector, and on every step whether a map carries any signal.

    Args:
        loss_weight: What the loss is multiplied by. Of a tuple the losses of all levels are added.
    """

    def __init__(self, loss_weight: float):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Maps, teacher: Maps) -> Tensor:
        """Loss of the maps as a scalar.

        Raises:
            ValueError: The two sides differ in levels, images or (where the loss does not allow it) channels.
        """
        if isinstance(student, Tensor) and isinstance(teacher, Tensor):
            return self.level_loss(student, teacher)
        if isinstance(student, Tensor) or isinstance(teacher, Tensor) or len(student) != len(teacher):
            raise ValueError(
                f"{type(self).__name__} compares two maps, or two tuples of as many levels; got {_shapes(student)} of "
                f"the student and {_shapes(teacher)} of the teacher: record the same number of levels on both sides"
            )
        return sum(self.tuple_losses(student, teacher))

    def tuple_losses(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[Tensor]:
        return [self.level_loss(s, t) for s, t in zip(student, teacher, strict=True)]

    def level_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Weighted loss of one pair of maps `(B, C, H, W)`."""
        raise NotImplementedError

    def needs_connector(self, student_channels: int, teacher_channels: int) -> bool:
        """Whether a convolution has to translate the student's map before the loss."""
        return student_channels != teacher_channels

    @property
    def active(self) -> bool:
        """Whether the loss has any weight."""
        return self.loss_weight != 0

    def is_degenerate(self, height: int, width: int) -> bool:
        """Whether a map of this size carries no signal for the loss."""
        return False

    def degenerate_message(self, height: int, width: int) -> str:
        """Why `is_degenerate` says so, and what to write instead."""
        return f"a map of {height}x{width} is too small"

    def align(self, student: Tensor, teacher: Tensor, same_channels: bool = True) -> Tensor:
        """The teacher's map, detached, at the student's height and width."""
        if student.shape[0] != teacher.shape[0] or (same_channels and student.shape[1] != teacher.shape[1]):
            raise ValueError(
                f"{type(self).__name__} got a student map of shape {tuple(student.shape)} and a teacher map of shape "
                f"{tuple(teacher.shape)}: images and channels must agree. For other channels use "
                "pcka_mmdet.FPNDistiller, which builds a 1x1 connector, or put a connector of your own before the loss"
            )
        teacher = teacher.detach()
        if student.shape[2:] == teacher.shape[2:]:
            return teacher
        return F.interpolate(teacher, student.shape[2:], mode="bilinear", align_corners=False)


class ForeignLoss(LevelLoss):
    """A loss that knows nothing of levels, such as one of MMRazor's: called with both maps, with its own weight.

    Args:
        loss: Module whose forward takes the student's and the teacher's map.
    """

    def __init__(self, loss: nn.Module):
        super().__init__(getattr(loss, "loss_weight", 1.0))
        self.loss = loss

    def level_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of one pair of maps, as the wrapped module gives it."""
        return self.loss(student, teacher.detach())


def _shapes(maps: Maps) -> tuple | list[tuple]:
    return tuple(maps.shape) if isinstance(maps, Tensor) else [tuple(level.shape) for level in maps]
