"""GFL, whose boxes are distributions of the distances from the anchor's centre to the four sides."""

from collections.abc import Hashable

import torch.nn.functional as F
from torch import Tensor

from . import boxes
from .reader import HeadReader, reads


@reads("GFLHead")
class GFLReader(HeadReader):
    """Compares the distributions themselves; their means, in units of the stride, are the boxes."""

    def relative_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)`; see `HeadReader.relative_boxes`."""
        codes = codes.movedim(2, -1)
        return boxes.from_distances(self.head.integral(codes).view(*codes.shape[:-1], 4).movedim(-1, 2))

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Logits `(B, A, K, H, W)` of the four distributions."""
        return codes

    def box_difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL divergence of the four distributions (Zheng et al. 2022, "Localization Distillation"), summed."""
        log_own, log_other = (logits.unflatten(2, (4, -1)).log_softmax(3) for logits in (student, teacher))
        return F.kl_div(log_own, log_other, reduction="none", log_target=True).sum((2, 3))

    def code(self) -> Hashable:
        """The number of values of a distribution, too."""
        return super().code(), self.head.reg_max
