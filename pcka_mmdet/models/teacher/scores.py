"""The teacher's scores at the positions of its levels: `(B, 1, H, W)` in [0, 1], the highest over classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..heads import reader_of
from ..queries import QueryOutputs


def scores_of_head(head: nn.Module, outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The highest score of the anchors at each position, times that of their quality. `outputs` is by level."""
    reader, scores = reader_of(head), []
    for level in outputs:
        of_anchors = reader.class_logits(level).amax(2).sigmoid()
        scores.append((of_anchors if reader.quality is None else of_anchors * level[2].sigmoid()).amax(1, keepdim=True))
    return scores


def scores_of_queries(outputs: QueryOutputs, maps: Sequence[Tensor]) -> list[Tensor]:
    """The highest score of the boxes that contain a position, 0 in none. `maps` have the sizes of the levels."""
    scores, centre, half = outputs.logits.amax(2).sigmoid(), outputs.boxes[..., :2], outputs.boxes[..., 2:] / 2
    of_levels = []
    for level in maps:
        height, width = level.shape[2:]
        x, y = ((torch.arange(side, device=level.device) + 0.5) / side for side in (width, height))
        in_x, in_y = (
            (places - centre[..., axis, None]).abs() <= half[..., axis, None] for axis, places in enumerate((x, y))
        )
        inside = in_y[..., :, None] & in_x[..., None, :]  # (B, N, H, W)
        of_levels.append((inside * scores[..., None, None]).amax(1, keepdim=True))
    return of_levels
