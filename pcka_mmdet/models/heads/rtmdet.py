"""RTMDet, whose boxes are distances from the point to the left, upper, right and lower side."""

from torch import Tensor

from . import boxes
from .reader import HeadReader, reads


@reads("RTMDetHead", refuses=("RTMDetInsHead",))
class RTMDetReader(HeadReader):
    """Distances in pixels."""

    gradients_of_one_scale = False

    def relative_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)`; see `HeadReader.relative_boxes`."""
        return boxes.from_distances(codes / stride)
