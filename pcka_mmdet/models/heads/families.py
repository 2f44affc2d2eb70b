"""The reader of each family of MMDetection's dense heads. Shape shorthand: see `reader`."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from . import boxes
from .reader import HeadReader, reads


@reads("RetinaHead", "RetinaSepBNHead", "RPNHead")
class AnchorReader(HeadReader):
    """Deltas of anchors. Boxes are in units of the anchor's sides: GIoU does not depend on the anchor."""

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        return boxes.decode(self.head.bbox_coder, codes.movedim(2, -1)).movedim(-1, 2)


@reads("ATSSHead", refuses=("ATSSVLFusionHead", "TOODHead", "VFNetHead"))
class ATSSReader(AnchorReader):
    quality = "centerness"


@reads("PAAHead")
class PAAReader(AnchorReader):
    """PAA, an ATSS that scores a box's overlap with the object in place of centerness."""

    quality = "overlap"


@reads("FCOSHead", refuses=("AutoAssignHead", "CondInstBboxHead"))
class FCOSReader(HeadReader):
    """Distances to the four sides in pixels; with `norm_on_bbox`, in training, in units of the stride."""

    quality = "centerness"

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        return boxes.from_distances(codes / (1 if self.head.training and self.head.norm_on_bbox else stride))


@reads("RTMDetHead", refuses=("RTMDetInsHead",))
class RTMDetReader(HeadReader):
    """Distances to the four sides in pixels."""

    gradients_of_one_scale = False

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        return boxes.from_distances(codes / stride)


@reads("YOLOXHead")
class YOLOXReader(HeadReader):
    """Centre, and logarithms of width and height, both in units of the stride."""

    quality = "objectness"
    gradients_of_one_scale = False

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        centre, half = codes[:, :, :2], codes[:, :, 2:].clamp(max=boxes.MOST_LOG_SIZE).exp() / 2
        return torch.cat([centre - half, centre + half], dim=2)


@reads("GFLHead")
class GFLReader(HeadReader):
    """Distributions of the distances to the four sides, compared as they are."""

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Logits `(B, A, K, H, W)` of the four distributions."""
        return codes

    def box_difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL divergence of the four distributions (Zheng et al. 2022, "Localization Distillation"), summed."""
        log_student, log_teacher = (logits.unflatten(2, (4, -1)).log_softmax(3) for logits in (student, teacher))
        return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum((2, 3))

    def boxes_compare_with(self, reader: HeadReader) -> bool:
        return super().boxes_compare_with(reader) and self.head.reg_max == reader.head.reg_max


@reads("RepPointsHead")
class RepPointsReader(HeadReader):
    """Corners in units of the stride; in training the refined points, which are the last output, as their box."""

    box_output = -1
    kinds = ("class", "first_box", "box")

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """`moment_transfer`, a parameter of this decoding, gets no gradient: it would bypass the balance."""
        if not self.head.training:
            return codes
        head = copy.copy(self.head)  # shares everything but the parameters
        head._parameters = {name: value.detach() for name, value in self.head.named_parameters(recurse=False)}
        return head.points2bbox(codes.flatten(1, 2)).unsqueeze(1)
