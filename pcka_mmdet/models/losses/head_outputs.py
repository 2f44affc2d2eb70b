"""The raw outputs of dense heads, read into one form, and compared.

Shape shorthand: B images, A anchors (or 1 point) per position, C classes, K values of a box code, H x W positions. A
head gives class logits `(B, A C, H, W)`, box codes `(B, A K, H, W)` and, in some heads, logits of box quality
`(B, A, H, W)`. Boxes are read as corners x1, y1, x2, y2 relative to the anchor, in units of its sides, or relative to
the point, in units of the stride.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..levels import LevelPair
from . import boxes


class HeadOutputs(NamedTuple):
    """Outputs of a dense head at one level."""

    logits: Tensor
    """Class logits `(B, A, C, H, W)`."""
    boxes: Tensor
    """Corners `(B, A, 4, H, W)`; for GFL logits `(B, A, K, H, W)` of the distributions of the four distances."""
    quality: Tensor | None
    """Logits `(B, A, H, W)` of centerness, IoU or objectness."""


class Sums(NamedTuple):
    """Sums over the positions of a level; the first three by class."""

    classes: Tensor
    boxes: Tensor
    """Sum of the differences of boxes and of box quality."""
    weights: Tensor
    """Weights of boxes, which the loss is divided by."""
    differences: Tensor
    """Sum of the absolute differences of both sides' class scores, detached."""
    all_scores: Tensor
    """Class scores of both sides, detached: the largest that `differences` can be."""


def compare(student: HeadOutputs, teacher: HeadOutputs, kind: str) -> Sums:
    """Compare the outputs of two heads of one kind, position by position.

    Class scores: binary cross-entropy to the teacher's probabilities p_t, weighted by |p_s - p_t|. Boxes:
    2 (1 - GIoU), for GFL the KL divergence of the distributions. Box quality (centerness): binary cross-entropy. Boxes
    and quality are weighted by p_t^2, for each class. YOLOX's class scores are conditional on an object. So the
    teacher's objectness multiplies all weights, and objectness is compared at all positions, weighted by its own
    absolute difference.

    Args:
        student: The student's outputs.
        teacher: The teacher's, detached.
        kind: One of `KINDS`.
    """
    target, own = teacher.logits.sigmoid(), student.logits.detach().sigmoid()
    entropy = F.binary_cross_entropy_with_logits(student.logits, target, reduction="none")
    difference = (_distribution_difference if kind == "GFLHead" else _box_difference)(student.boxes, teacher.boxes)
    of_objects = entropy.new_zeros(())
    if teacher.quality is not None:
        quality = teacher.quality.sigmoid()
        of_quality = F.binary_cross_entropy_with_logits(student.quality, quality, reduction="none")
        if kind == "YOLOXHead":
            own, target = own * quality[:, :, None], target * quality[:, :, None]
            of_objects = (of_quality * (student.quality.detach().sigmoid() - quality).abs()).sum() / target.shape[2]
        else:
            difference = difference + of_quality
    differences, weights = (own - target).abs(), target.square()
    by_class = entropy * differences, difference.unsqueeze(2) * weights, weights
    classes, box_sum, weights = (values.sum((0, 1, 3, 4)) for values in by_class)
    return Sums(classes + of_objects, box_sum, weights, differences.sum(), (own + target).sum())


def _box_difference(student: Tensor, teacher: Tensor) -> Tensor:
    return boxes.difference(student.movedim(2, -1), teacher.movedim(2, -1))


def _distribution_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of the distributions of the four distances (Zheng et al. 2022, "Localization Distillation")."""
    log_own, log_other = (codes.unflatten(2, (4, -1)).log_softmax(3) for codes in (student, teacher))
    return F.kl_div(log_own, log_other, reduction="none", log_target=True).sum((2, 3))


MOST_LOG_SIZE = 10.0
"""A box of e^10 strides is larger than any image. Background may have wilder codes, whose areas are infinite."""


# How each kind of head codes boxes: functions of the head, its codes `(B, A, K, H, W)` and the stride in pixels.


def _of_anchors(head: nn.Module, codes: Tensor, stride: int) -> Tensor:
    """Codes of the head's coder."""
    return boxes.decode(head.bbox_coder, codes.movedim(2, -1)).movedim(-1, 2)


def _of_distances(head: nn.Module, codes: Tensor, stride: int) -> Tensor:
    """Distances to the left, upper, right and lower side, in pixels: the logarithm is at most `MOST_LOG_SIZE`."""
    most = math.exp(MOST_LOG_SIZE)
    left_top, right_bottom = (codes / stride).clamp(-most, most).chunk(2, dim=2)
    return torch.cat([-left_top, right_bottom], dim=2)


def _of_fcos(head: nn.Module, codes: Tensor, stride: int) -> Tensor:
    """Distances likewise: with `norm_on_bbox`, in training, in units of the stride already."""
    return _of_distances(head, codes, 1 if head.training and head.norm_on_bbox else stride)


def _of_reppoints(head: nn.Module, codes: Tensor, stride: int) -> Tensor:
    """Corners in units of the stride; in training the refined points, whose box they are.

    `moment_transfer`, a parameter that is a part of this decoding, gets no gradient: it would pass by the balance.
    """
    if not head.training:
        return codes
    parameters = {f"head.{name}": value.detach() for name, value in head.named_parameters(recurse=False)}
    return functional_call(_PointBoxes(head), parameters, codes.flatten(1, 2)).unsqueeze(1)


class _PointBoxes(nn.Module):
    """The boxes of a RepPoints head's points."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, points: Tensor) -> Tensor:
        return self.head.points2bbox(points)


def _of_yolox(head: nn.Module, codes: Tensor, stride: int) -> Tensor:
    """Centre in units of the stride, and logarithms of width and height, at most `MOST_LOG_SIZE`."""
    centre, half = codes[:, :, :2], codes[:, :, 2:].clamp(max=MOST_LOG_SIZE).exp() / 2
    return torch.cat([centre - half, centre + half], dim=2)


def _as_they_are(head: nn.Module, codes: Tensor, stride: int) -> Tensor:
    """Logits of distributions."""
    return codes


KINDS: dict[str, Callable[[nn.Module, Tensor, int], Tensor]] = {
    "GFLHead": _as_they_are,
    "FCOSHead": _of_fcos,
    "RetinaHead": _of_anchors,
    "RetinaSepBNHead": _of_anchors,
    "ATSSHead": _of_anchors,
    "RPNHead": _of_anchors,
    "RepPointsHead": _of_reppoints,
    "RTMDetHead": _of_distances,
    "YOLOXHead": _of_yolox,
}
"""By class name of the head, or else of its nearest base class in this dict."""

OTHER_KINDS = ("ATSSVLFusionHead", "AutoAssignHead", "CondInstBboxHead", "RTMDetInsHead", "TOODHead", "VFNetHead")
"""Heads derived from a known one, but with outputs of another kind: refused."""

WITH_QUALITY = ("ATSSHead", "FCOSHead", "YOLOXHead")
"""Kinds whose third output is a box quality."""


def kind_of(head: nn.Module) -> str:
    """The kind of a head, of `KINDS`.

    Raises:
        ValueError: The head is of a kind that is not known, or its classes are not scored by a sigmoid.
    """
    name = type(head).__name__
    kinds = [base.__name__ for base in type(head).__mro__ if base.__name__ in (*KINDS, *OTHER_KINDS)]
    if not kinds or kinds[0] in OTHER_KINDS:
        raise ValueError(
            f"the outputs of {name} are not known, only those of {list(KINDS)} and of heads derived from them"
        )
    if not getattr(head, "use_sigmoid_cls", True):
        raise ValueError(f"class scores must be by a sigmoid, and this {name} has a softmax")
    return kinds[0]


def read_outputs(head: nn.Module, outputs: Sequence[Tensor], stride: int) -> HeadOutputs:
    """One level of a head's raw outputs, in float32 or wider.

    Args:
        head: The head.
        outputs: Its outputs at the level, one map for each kind: class scores, box codes, ...
        stride: The level's stride in pixels.

    Raises:
        ValueError: See `kind_of`.
    """
    kind = kind_of(head)
    scores, codes = outputs[0], outputs[-1 if kind == "RepPointsHead" else 1]
    quality = outputs[2] if kind in WITH_QUALITY else None
    anchors = scores.shape[1] // head.cls_out_channels
    codes = codes.unflatten(1, (anchors, -1))
    return HeadOutputs(scores.unflatten(1, (anchors, -1)), KINDS[kind](head, codes, stride), quality)


def class_rows(head: nn.Module, outputs: Sequence[Tensor]) -> Tensor:
    """Class logits of one level of a head's raw outputs, one row for each anchor at each position: `(B A H W, C)`.

    Raises:
        ValueError: See `kind_of`.
    """
    kind_of(head)
    return outputs[0].unflatten(1, (-1, head.cls_out_channels)).movedim(2, -1).flatten(0, -2)


def difference_of_heads(student: nn.Module, teacher: nn.Module, pairs: Sequence[LevelPair]) -> str | None:
    """Why the outputs of two heads cannot be compared position by position; `None` if they can.

    Args:
        student: The student's head.
        teacher: The teacher's.
        pairs: The levels of both that are compared.

    Raises:
        ValueError: See `kind_of`.
    """
    kinds = [kind_of(head) for head in (student, teacher)]
    if _code(student) != _code(teacher):
        return f"their heads code boxes in different ways ({type(student).__name__} and {type(teacher).__name__})"
    both = all(kind in WITH_QUALITY for kind in kinds)
    if both and _scores_overlap(student) != _scores_overlap(teacher):
        return f"one of their heads scores centerness, the other overlap ({kinds[0]} and PAAHead)"
    if student.cls_out_channels != teacher.cls_out_channels:
        return f"their heads score {student.cls_out_channels} and {teacher.cls_out_channels} classes"
    if kinds[1] in WITH_QUALITY and kinds[0] not in WITH_QUALITY:
        return f"only the teacher's head scores the quality of boxes ({kinds[0]} and {kinds[1]})"
    if any(not _equal(_priors(student, own.index), _priors(teacher, other.index)) for own, other in pairs):
        return "their heads have different anchors"
    return None


def _code(head: nn.Module) -> tuple:
    """What two heads must have in common so that their boxes can be compared, besides the anchors."""
    kind = kind_of(head)
    return "anchors" if KINDS[kind] is _of_anchors else kind, getattr(head, "reg_max", None)


def _scores_overlap(head: nn.Module) -> bool:
    """Whether the third output, which is ATSS's centerness, is the box's overlap with the object."""
    return any(base.__name__ == "PAAHead" for base in type(head).__mro__)


def _priors(head: nn.Module, level: int) -> Tensor:
    """Anchors at one position, or the offset of the point, in pixels."""
    generator = head.prior_generator
    if hasattr(generator, "base_anchors"):
        return generator.base_anchors[level].cpu()
    return torch.tensor([generator.offset * generator.strides[level][0]])


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.isclose(one, other).all())
