"""Boxes as corners x1, y1, x2, y2: decoded from a coder's deltas, and compared by GIoU."""

import math
from typing import Any

import torch
from torch import Tensor

from ..outputs import box_tensor, constant

MAX_LOG_RATIO = abs(math.log(16 / 1000))
"""Limit of a decoded log side, as in MMDetection's `delta2bbox`."""

MOST_LOG_SIZE = 10.0
"""A box of e^10 strides is larger than any image. Background may have wilder codes, whose areas are infinite."""

EPSILON = 1e-6
"""Least area that GIoU divides by, as in MMDetection's `bbox_overlaps`."""


def decode(coder: Any, codes: Tensor, anchors: Tensor | None = None) -> Tensor:
    """Boxes `(..., 4)` from the codes `(..., 4)` of a head's `bbox_coder`, and anchors that can be expanded to them.

    Without anchors, boxes are relative to the anchor, in units of its sides. A coder that is not MMDetection's
    `DeltaXYWHBBoxCoder` decodes by itself, and may upload its constants each time.
    """
    if type(coder).__name__ != "DeltaXYWHBBoxCoder" or coder.add_ctr_clamp:
        if anchors is None:
            anchors = constant((-0.5, -0.5, 0.5, 0.5), codes.device, codes.dtype)
        return box_tensor(coder.decode(anchors.expand_as(codes).reshape(-1, 4), codes.reshape(-1, 4))).view_as(codes)
    means, stds = (constant(tuple(values), codes.device, codes.dtype) for values in (coder.means, coder.stds))
    shifts, log_sides = (codes * stds + means).chunk(2, dim=-1)
    sides = log_sides.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    if anchors is not None:
        low, high = anchors.chunk(2, dim=-1)
        shifts, sides = (low + high) * 0.5 + (high - low) * shifts, (high - low) * sides
    return torch.cat([shifts - sides * 0.5, shifts + sides * 0.5], dim=-1)


def codes_of_class(codes: Tensor, classes: Tensor) -> Tensor:
    """Codes `(R, 4)` of a class `(R,)` for each proposal, from `(R, 4 K)`, or `(R, 4)` that hold for all classes."""
    codes = codes.unflatten(1, (-1, 4))
    return codes[:, 0] if codes.shape[1] == 1 else codes.gather(1, classes[:, None, None].expand(-1, 1, 4))[:, 0]


def from_distances(distances: Tensor) -> Tensor:
    """Corners from distances `(B, A, 4, H, W)` to the left, upper, right and lower side, at most e^`MOST_LOG_SIZE`."""
    most = math.exp(MOST_LOG_SIZE)
    left_top, right_bottom = distances.clamp(-most, most).chunk(2, dim=2)
    return torch.cat([-left_top, right_bottom], dim=2)


def difference(student: Tensor, teacher: Tensor) -> Tensor:
    """2 (1 - GIoU) of boxes `(..., 4)`, relative to an anchor or a point: `(...)`, in [0, 4] if both have an area.

    GIoU is by Rezatofighi et al. 2019; most heads of MMDetection give it the weight 2 beside a class loss.

    RTMDet's raw distances may be negative, and GIoU of a box without an area means nothing. Where the teacher's box has
    no area, the difference is 0. Where only the student's has none, it is 2 plus the corners' distances over the
    teacher's half perimeter, which counts as 1 (the stride or the anchor's side) at least. This part has no upper
    bound, but its derivative by a coordinate is at most 1.
    """
    teacher_has_area, student_has_area = has_area(teacher), has_area(student)
    any_box = constant((0, 0, 1, 1), teacher.device, teacher.dtype)
    safe_teacher = torch.where(teacher_has_area[..., None], teacher, any_box)
    safe_student = torch.where((teacher_has_area & student_has_area)[..., None], student, safe_teacher)
    by_overlap = 2 * (1 - giou(safe_student, safe_teacher))
    half_perimeter = (safe_teacher[..., 2:] - safe_teacher[..., :2]).sum(-1)
    by_corners = 2 + (student - safe_teacher).abs().sum(-1) / half_perimeter.clamp(min=1)
    return torch.where(student_has_area, by_overlap, by_corners) * teacher_has_area


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes `(..., 4)`: `(...)`, in [-1, 1]. MMDetection's uploads a constant each time."""
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (first, second)]
    common = (torch.min(first[..., 2:], second[..., 2:]) - torch.max(first[..., :2], second[..., :2])).clamp(min=0)
    hull = (torch.max(first[..., 2:], second[..., 2:]) - torch.min(first[..., :2], second[..., :2])).clamp(min=0)
    overlap = common[..., 0] * common[..., 1]
    union = (areas[0] + areas[1] - overlap).clamp(min=EPSILON)
    hull_area = (hull[..., 0] * hull[..., 1]).clamp(min=EPSILON)
    return overlap / union - (hull_area - union) / hull_area


@torch.no_grad()
def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """IoU `(..., M, N)` of boxes `(..., M, 4)` and `(..., N, 4)`, without gradient; 0 for boxes without an area."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = first[..., None, :].unbind(-1), second[..., None, :, :].unbind(-1)
    # M x N values at a time, and in place: a quarter of the time of pairs of coordinates
    common = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    common.mul_(torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0))
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (first, second)]
    union = (areas[0][..., None] + areas[1][..., None, :]).sub_(common).clamp_(min=EPSILON)
    return common.div_(union)


def has_area(boxes: Tensor) -> Tensor:
    """Whether boxes `(..., 4)` have an area: `(...)`."""
    return (boxes[..., 2:] > boxes[..., :2]).all(-1)
