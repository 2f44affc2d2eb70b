"""Feature mimicking."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pcka_mmdet.registry import MODELS

from .level_loss import Batch, LevelLoss


@MODELS.register_module()
class MimicLoss(LevelLoss):
    """Mean squared error between the teacher's map and the student's after a 1x1 convolution (Huang et al. 2022, DIST).

    `prepare` builds the convolution at every level, whatever the channels. Only `FPNDistiller` calls it: in another
    distiller put a connector before the loss.

    Args:
        loss_weight: Weight of the mean over all elements of a map.
    """

    needs_maps = True
    metric = "similarity.mimic"
    """Cosine of the connected map and the teacher's, each as one vector."""

    def needs_connector(self, student_channels: int, teacher_channels: int) -> bool:
        """Always: the convolution leaves the student free to keep its features."""
        return True

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        teacher = self.align(student, teacher)
        dtype = torch.promote_types(student.dtype, torch.float32)
        student, teacher = student.to(dtype), teacher.to(dtype)
        self.note_cosine(student, teacher)
        return self.loss_weight * F.mse_loss(student, teacher)
