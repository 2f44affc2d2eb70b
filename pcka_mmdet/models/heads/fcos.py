"""FCOS, whose boxes are distances from the point to the left, upper, right and lower side."""

from torch import Tensor

from . import boxes
from .reader import HeadReader, reads


@reads("FCOSHead", refuses=("AutoAssignHead", "CondInstBboxHead"))
class FCOSReader(HeadReader):
    """Distances in pixels; with `norm_on_bbox`, in training, in units of the stride."""

    quality = "centerness"

    def relative_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)`; see `HeadReader.relative_boxes`."""
        return boxes.from_distances(codes / (1 if self.head.training and self.head.norm_on_bbox else stride))
