"""Boxes of a head, decoded without anchors, and their difference by GIoU, which does not depend on the anchor."""

from typing import Any

import torch
from torch import Tensor

from ..outputs import box_tensor


def decode(coder: Any, codes: Tensor) -> Tensor:
    """Boxes `(..., 4)` as x1, y1, x2, y2 from codes `(..., 4)`, for an anchor of sides 1 around 0.

    Args:
        coder: A head's `bbox_coder`.
        codes: What the head gives for each box.
    """
    anchor = codes.new_full((codes.numel() // 4, 4), 0.5)  # not from a list, which a GPU would wait for
    anchor[:, :2] = -0.5
    return box_tensor(coder.decode(anchor, codes.reshape(-1, 4))).view_as(codes)


def difference(student: Tensor, teacher: Tensor) -> Tensor:
    """2 (1 - GIoU) of boxes `(..., 4)`: `(...)`, in [0, 4].

    GIoU is by Rezatofighi et al. 2019; most heads of MMDetection give this loss the weight 2 beside a class loss.

    RTMDet's raw distances may be negative, and GIoU of a box without an area means nothing. Where the teacher's box has
    no area, the difference is 0. Where only the student's has none, it is 2 plus the sum of the corners' distances in
    units of the teacher's half perimeter.
    """
    from mmdet.structures.bbox import bbox_overlaps  # here: classifiers train without mmdet

    teacher_has_area, student_has_area = _has_area(teacher), _has_area(student)
    unit = torch.zeros_like(teacher)  # any box with an area, where there is none
    unit[..., 2:] = 1
    safe_teacher = torch.where(teacher_has_area[..., None], teacher, unit)
    safe_student = torch.where((teacher_has_area & student_has_area)[..., None], student, safe_teacher)
    overlaps = bbox_overlaps(safe_student.reshape(-1, 4), safe_teacher.reshape(-1, 4), mode="giou", is_aligned=True)
    by_overlap = 2 * (1 - overlaps.view(student.shape[:-1]))
    half_perimeter = (safe_teacher[..., 2:] - safe_teacher[..., :2]).sum(-1)
    by_corners = 2 + (student - safe_teacher).abs().sum(-1) / half_perimeter
    return torch.where(student_has_area, by_overlap, by_corners) * teacher_has_area


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] > boxes[..., :2]).all(-1)
