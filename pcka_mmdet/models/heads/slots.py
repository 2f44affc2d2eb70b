"""The predictions of a dense head at all its slots: the anchors or points of all levels.

Shape shorthand: B images, M slots, C classes, N boxes. Slots are in the order of MMDetection: by level, row, column and
anchor. Boxes are corners in pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..levels import Level
from ..outputs import constant

UNSURE = 0.1
"""Score below which a box is unsure."""


class Slots(NamedTuple):
    """Predictions at all slots.

    `logits` `(B, M, C)`; `boxes` `(B, M, 4)`; `quality` `(B, M)`: logits, or `None`; `priors` `(M, 4)`: anchors, or
    points as boxes without an area; `strides` `(M,)`; `counts`: slots of each level; `levels`: indices of the levels.
    """

    logits: Tensor
    boxes: Tensor
    quality: Tensor | None
    priors: Tensor
    strides: Tensor
    counts: list[int]
    levels: list[int]

    def points(self, offset: float = 0.0) -> Tensor:
        """The points, moved by a share of their stride, each with its stride twice, as MMDetection's: `(M, 4)`."""
        strides = self.strides[:, None]
        return torch.cat([self.priors[:, :2] + offset * strides, strides.expand(-1, 2)], 1)


def first_priors(head: nn.Module, level: int) -> Tensor:
    """Anchors `(A, 4)`, or the point `(1, 2)`, at the first position of a level, in pixels."""
    generator = head.prior_generator
    if hasattr(generator, "base_anchors"):
        return generator.base_anchors[level]
    return torch.tensor([[generator.offset * side for side in generator.strides[level]]])


def priors_of_level(head: nn.Module, level: Level, size: tuple[int, int], like: Tensor) -> Tensor:
    """Anchors, or points as boxes without an area, at all positions: `(H W A, 4)`."""
    first = first_priors(head, level.index)
    corners = torch.cat([first[:, :2], first[:, -2:]], 1)
    placed = constant(tuple(corners.flatten().tolist()), like.device, like.dtype).view(1, 1, -1, 4)
    y, x = (torch.arange(side, device=like.device, dtype=like.dtype) * level.own_stride for side in size)
    shifts = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))] * 2, -1)
    return (placed + shifts[:, :, None]).flatten(0, 2)


def flat(levels: Sequence[Tensor]) -> Tensor:
    """Maps `(B, A, K, H, W)` of all levels as `(B, M, K)`."""
    return torch.cat([level.permute(0, 3, 4, 1, 2).flatten(1, 3) for level in levels], 1)


def best_of(fits: Tensor, scores: Tensor, preferences: Tensor) -> tuple[Tensor, Tensor]:
    """The box that each slot is to predict: of those that it fits, that of the highest product of score and preference.

    Args:
        fits: How far each slot is to predict each box, in [0, 1]: `(M, N)`.
        scores: Class scores of the boxes `(N, C)`.
        preferences: Of each slot for each box `(M, N)`, or of all slots `(N,)`; above 0.

    Returns:
        Index of the box `(M,)`, and how far, `(M,)`.
    """
    highest = scores.amax(1)
    index = (fits * highest * preferences).argmax(1)
    return index, fits.gather(1, index[:, None])[:, 0] * (highest[index] > 0)


def by_assigner(
    assigner: Any, found: Tensor, scores: Tensor, predicted: InstanceData, *arguments: Any, **options: Any
) -> tuple[Tensor, Tensor]:
    """The same by an assigner of MMDetection, which makes the host wait for the device.

    Unsure boxes are left out: they would take slots of sure ones. `arguments` stand between the student's predictions,
    `predicted`, and the objects.
    """
    kept = (scores.amax(1) >= UNSURE).nonzero()[:, 0]
    objects = InstanceData(bboxes=found[kept], labels=scores[kept].argmax(1))
    assigned = assigner.assign(predicted, *arguments, objects, **options).gt_inds  # from 1 on; 0 is the background
    if len(kept) == 0:
        return torch.zeros_like(assigned), torch.zeros_like(assigned, dtype=scores.dtype)
    return kept[(assigned - 1).clamp(min=0)], (assigned > 0).to(scores)
