"""Boxes of a head, decoded without anchors, and their difference by GIoU, which does not depend on the anchor."""

from typing import Any

from torch import Tensor


def decode(coder: Any, codes: Tensor) -> Tensor:
    """Boxes `(..., 4)` as x1, y1, x2, y2 from codes `(..., 4)`, for an anchor of sides 1 around 0.

    Args:
        coder: A head's `bbox_coder`.
        codes: What the head gives for each box.
    """
    anchor = codes.new_tensor([-0.5, -0.5, 0.5, 0.5]).expand(codes.numel() // 4, 4)
    return coder.decode(anchor, codes.reshape(-1, 4)).view_as(codes)


def difference(student: Tensor, teacher: Tensor) -> Tensor:
    """2 (1 - GIoU) of boxes `(..., 4)`: `(...)`, in [0, 4].

    GIoU is by Rezatofighi et al. 2019; most heads of MMDetection give this loss the weight 2 beside a class loss.
    """
    from mmdet.structures.bbox import bbox_overlaps  # here: classifiers train without mmdet

    overlaps = bbox_overlaps(student.reshape(-1, 4), teacher.reshape(-1, 4), mode="giou", is_aligned=True)
    return 2 * (1 - overlaps.view(student.shape[:-1]))
