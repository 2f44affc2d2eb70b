"""YOLOX, whose boxes are a centre and logarithms of sides."""

import torch
from torch import Tensor

from .boxes import MOST_LOG_SIZE
from .reader import HeadReader, reads


@reads("YOLOXHead")
class YOLOXReader(HeadReader):
    """Centre in units of the stride, and logarithms of width and height in these."""

    quality = "objectness"
    gradients_of_one_scale = False

    def relative_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)`; see `HeadReader.relative_boxes`."""
        centre, half = codes[:, :, :2], codes[:, :, 2:].clamp(max=MOST_LOG_SIZE).exp() / 2
        return torch.cat([centre - half, centre + half], dim=2)
