"""The reader of each family of MMDetection's dense heads. Shape shorthand: see `reader`."""

import copy

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from ..outputs import constant
from . import boxes
from .reader import HeadReader, reads
from .slots import Slots, best_of, by_assigner


@reads("RetinaHead", "RetinaSepBNHead", "RPNHead")
class AnchorReader(HeadReader):
    """Deltas of anchors. Boxes are in units of the anchor's sides: GIoU does not depend on the anchor."""

    def placed(self, corners: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
        sides = priors[:, 2:] - priors[:, :2]
        return super().placed(corners * torch.cat([sides, sides], 1) / strides[:, None], priors, strides)

    def assign(self, slots: Slots, image: int, found: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """By the overlap with the anchor: wholly from the assigner's `pos_iou_thr`, not at all below `neg_iou_thr`.

        Where it matches boxes of low overlap, the best anchors of a box fit wholly too. An anchor that fits several
        boxes goes to that of the highest product of overlap and score.
        """
        assigner = self.head.assigner
        low, high = assigner.neg_iou_thr, assigner.pos_iou_thr
        low = low[1] if isinstance(low, tuple) else low
        overlaps = boxes.overlaps(slots.priors, found) * (scores.amax(1) > 0)
        fits = ((overlaps - low) / max(high - low, 1e-6)).clamp(0, 1) if high > low else (overlaps >= high).to(overlaps)
        if assigner.match_low_quality:
            best = overlaps.amax(0)
            fits = torch.where((overlaps == best) & (best >= max(assigner.min_pos_iou, 1e-6)), 1, fits)
        return best_of(fits, scores, overlaps)

    @property
    def assigns(self) -> bool:
        return hasattr(getattr(self.head, "assigner", None), "pos_iou_thr")

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        return boxes.decode(self.head.bbox_coder, codes.movedim(2, -1)).movedim(-1, 2)


@reads("ATSSHead", refuses=("ATSSVLFusionHead", "TOODHead", "VFNetHead"))
class ATSSReader(AnchorReader):
    quality = "centerness"
    assigns = True

    def assign(self, slots: Slots, image: int, found: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        return by_assigner(self.head.assigner, found, scores, InstanceData(priors=slots.priors), slots.counts)


@reads("PAAHead")
class PAAReader(AnchorReader):
    """PAA, an ATSS that scores a box's overlap with the object in place of centerness."""

    quality = "overlap"
    assigns = False  # it fits a mixture of two Gaussians to the losses of a step

    def scores(self, slots: Slots) -> Tensor:
        return super().scores(slots).sqrt()


@reads("FCOSHead", refuses=("AutoAssignHead", "CondInstBboxHead"))
class FCOSReader(HeadReader):
    """Distances to the four sides in pixels; with `norm_on_bbox`, in training, in units of the stride."""

    quality = "centerness"
    assigns = True

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        return boxes.from_distances(codes / (1 if self.head.training and self.head.norm_on_bbox else stride))

    def assign(self, slots: Slots, image: int, found: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """By the level's range of sizes: boxes around the point, with `center_sampling` around the middle of a box.

        A point that fits several boxes goes to that of the highest score for its area: of equal scores to the smallest.
        """
        points, strides = slots.priors[:, None, :2], slots.strides[:, None, None]
        distances = torch.cat([points - found[:, :2], found[:, 2:] - points], -1)  # (M, N, 4)
        inside = distances.amin(-1) > 0
        if self.head.center_sampling:
            off_centre = (points - (found[:, :2] + found[:, 2:]) / 2).abs()
            inside &= (off_centre < self.head.center_sample_radius * strides).all(-1)
        of_levels = [self.head.regress_ranges[level] for level in slots.levels]
        ranges = constant(tuple(side for one in of_levels for side in one), points.device, points.dtype).view(-1, 2)
        counts = constant(tuple(slots.counts), points.device, torch.long)
        low, high = ranges.repeat_interleave(counts, 0, output_size=len(points)).unbind(1)
        size = distances.amax(-1)
        fits = (inside & (size >= low[:, None]) & (size <= high[:, None])).to(scores)
        return best_of(fits, scores, 1 / (found[:, 2:] - found[:, :2]).prod(1).clamp(min=1))


@reads("RTMDetHead", refuses=("RTMDetInsHead",))
class RTMDetReader(HeadReader):
    """Distances to the four sides in pixels."""

    gradients_of_one_scale = False
    assigns = True

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        return boxes.from_distances(codes / stride)

    def assign(self, slots: Slots, image: int, found: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        predicted = InstanceData(priors=slots.points(), bboxes=slots.boxes[image], scores=slots.logits[image])
        return by_assigner(self.head.assigner, found, scores, predicted)


@reads("YOLOXHead")
class YOLOXReader(HeadReader):
    """Centre, and logarithms of width and height, both in units of the stride."""

    quality = "objectness"
    gradients_of_one_scale = False
    assigns = True

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        centre, half = codes[:, :, :2], codes[:, :, 2:].clamp(max=boxes.MOST_LOG_SIZE).exp() / 2
        return torch.cat([centre - half, centre + half], dim=2)

    def class_entropy(self, slots: Slots, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Of the product of class score and objectness."""
        log_scores = F.logsigmoid(slots.logits) + F.logsigmoid(slots.quality)[..., None]
        log_others = torch.log1p(-log_scores.exp().clamp(max=1 - 1e-6))
        return -(targets * log_scores + (1 - targets) * log_others), log_scores.detach().exp()

    def assign(self, slots: Slots, image: int, found: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        scored = self.scores(slots)[image].sqrt()
        predicted = InstanceData(priors=slots.points(offset=0.5), bboxes=slots.boxes[image], scores=scored)
        return by_assigner(self.head.assigner, found, scores, predicted)


@reads("GFLHead")
class GFLReader(HeadReader):
    """Distributions of the distances to the four sides, compared as they are."""

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Logits `(B, A, K, H, W)` of the four distributions."""
        return codes

    def corners(self, compared: Tensor) -> Tensor:
        """From the means of the distributions."""
        shares = compared.unflatten(2, (4, -1)).softmax(3)
        values = torch.arange(shares.shape[3], device=shares.device, dtype=shares.dtype)
        return boxes.from_distances((shares * values[:, None, None]).sum(3))

    assigns = True
    assign = ATSSReader.assign  # by the same assigner

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
