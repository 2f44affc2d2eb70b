"""Boxes as corners x1, y1, x2, y2: decoded from a coder's deltas, laid out on a grid, and compared by GIoU.

Constants and grids are cached on their device, so that a step uploads nothing. The caches belong to the process, not to
a model: no copy, checkpoint or `.to(device)` of a model meets them.
"""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..outputs import box_tensor

MAX_LOG_RATIO = abs(math.log(16 / 1000))
"""Limit of a decoded log side, as in MMDetection's `delta2bbox`."""

MOST_LOG_SIZE = 10.0
"""A box of e^10 strides is larger than any image. Background may have wilder codes, whose areas are infinite."""

EPSILON = 1e-6
"""Least area that GIoU divides by, as in MMDetection's `bbox_overlaps`."""

MOST_GRIDS = 64
"""Grids in the cache. With five levels these are the last 12 sizes of images: RetinaNet's 9 anchors at 800x1333 pixels
take 3 MiB a size. Training at more sizes than these computes a grid again, and the cache does not grow."""


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor of these values, uploaded once."""
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        return torch.tensor(values, device=device, dtype=dtype)


@lru_cache(maxsize=MOST_GRIDS)
def grid(
    first: tuple[tuple[float, ...], ...],
    stride: tuple[int, int],
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Boxes or points at each position of a map: `(H W A, K)` in pixels, in the order of MMDetection's priors.

    Args:
        first: K coordinates, x and y in turn, of the A boxes or points at the first position.
        stride: Pixels between positions, by x and y.
        size: H and W of the map.
        device: Where the grid is.
        dtype: Its precision.
    """
    with torch.inference_mode(False):
        x, y = (torch.arange(n, device=device, dtype=dtype) * s for n, s in zip(size[::-1], stride, strict=True))
        shifts = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
        places = torch.tensor(first, device=device, dtype=dtype)
        return (places + shifts.repeat(1, 1, places.shape[1] // 2)[:, :, None]).flatten(0, 2)


def decode(coder: Any, codes: Tensor, anchors: Tensor | None = None) -> Tensor:
    """Boxes `(..., 4)` from codes `(..., 4)`.

    Coders other than MMDetection's `DeltaXYWHBBoxCoder` decode by themselves, and may upload their constants each time.

    Args:
        coder: A head's `bbox_coder`.
        codes: What the head gives for each box.
        anchors: Boxes `(..., 4)` that can be expanded to `codes`. `None`: an anchor of sides 1 around 0, which gives
            boxes relative to the anchor, in units of its sides.
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
    """Box codes `(R, 4)` of a class for each proposal.

    Args:
        codes: Box codes `(R, 4)`, equal for all classes, or `(R, 4 K)`.
        classes: Indices of classes, `(R,)`.
    """
    codes = codes.unflatten(1, (-1, 4))
    return codes[:, 0] if codes.shape[1] == 1 else codes.gather(1, classes[:, None, None].expand(-1, 1, 4))[:, 0]


def from_distances(distances: Tensor) -> Tensor:
    """Corners from distances `(B, A, 4, H, W)` to the left, upper, right and lower side, at most e^`MOST_LOG_SIZE`."""
    most = math.exp(MOST_LOG_SIZE)
    left_top, right_bottom = distances.clamp(-most, most).chunk(2, dim=2)
    return torch.cat([-left_top, right_bottom], dim=2)


def difference(student: Tensor, teacher: Tensor) -> Tensor:
    """2 (1 - GIoU) of boxes `(..., 4)`, relative to an anchor or a point: `(...)`, in [0, 4] if both have an area.

    GIoU is by Rezatofighi et al. 2019; most heads of MMDetection give this loss the weight 2 beside a class loss.

    RTMDet's raw distances may be negative, and GIoU of a box without an area means nothing. Where the teacher's box has
    no area, the difference is 0. Where only the student's has none, it is 2 plus the sum of the corners' distances in
    units of the teacher's half perimeter, or of 1 (the stride or the anchor's side) if that is larger. This part has no
    upper bound, but its derivative by a coordinate is at most 1.
    """
    teacher_has_area, student_has_area = _has_area(teacher), _has_area(student)
    any_box = constant((0, 0, 1, 1), teacher.device, teacher.dtype)
    safe_teacher = torch.where(teacher_has_area[..., None], teacher, any_box)
    safe_student = torch.where((teacher_has_area & student_has_area)[..., None], student, safe_teacher)
    by_overlap = 2 * (1 - giou(safe_student, safe_teacher))
    half_perimeter = (safe_teacher[..., 2:] - safe_teacher[..., :2]).sum(-1)
    by_corners = 2 + (student - safe_teacher).abs().sum(-1) / half_perimeter.clamp(min=1)
    return torch.where(student_has_area, by_overlap, by_corners) * teacher_has_area


def giou(one: Tensor, other: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes `(..., 4)`: `(...)`, in [-1, 1]. MMDetection's uploads a constant each time."""
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (one, other)]
    common = (torch.min(one[..., 2:], other[..., 2:]) - torch.max(one[..., :2], other[..., :2])).clamp(min=0)
    hull = (torch.max(one[..., 2:], other[..., 2:]) - torch.min(one[..., :2], other[..., :2])).clamp(min=0)
    overlap = common[..., 0] * common[..., 1]
    union = (areas[0] + areas[1] - overlap).clamp(min=EPSILON)
    hull_area = (hull[..., 0] * hull[..., 1]).clamp(min=EPSILON)
    return overlap / union - (hull_area - union) / hull_area


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] > boxes[..., :2]).all(-1)
