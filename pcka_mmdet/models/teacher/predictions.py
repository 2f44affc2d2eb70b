"""What a teacher of any family finds: boxes and class scores, and the scores at the positions of its levels.

Shape shorthand: B images, N boxes, C classes. Boxes are corners in pixels of the padded image. `sizes` are height and
width of the images without padding: boxes are clipped to them, and those without an area then have scores of 0.
`classes` are the indices of those that count, `None` for all: scores of others are 0 before duplicates are left out.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..detector_parts import UnreadableHead, dense_head
from ..heads import boxes, reader_of
from ..levels import Level
from ..outputs import constant
from ..queries import QueryOutputs, has_queries, in_pixels, problem_of_decoder
from ..sources import RoIOutputs

MOST = 100
"""Boxes of an image: those with the highest scores. More if the teacher detects more, by its `max_per_img`."""

DUPLICATE = 0.7
"""Overlap with a box of a higher score from which a box is a duplicate."""

DETECTED_TWICE = 0.5
"""The same for a student without NMS."""


Classes = Collection[int] | None


class Predictions(NamedTuple):
    """Boxes `(B, N, 4)`, and class scores `(B, N, C)` in [0, 1]. Duplicates and surplus boxes have scores of 0."""

    boxes: Tensor
    scores: Tensor


def most_boxes(detector: nn.Module) -> int:
    """Boxes of an image that are taken of a teacher."""
    config = getattr(detector, "test_cfg", None) or {}
    return max(MOST, (config.get("rcnn") or config).get("max_per_img", MOST))


def of_head(
    head: nn.Module,
    outputs: Sequence[Sequence[Tensor]],
    levels: Sequence[Level],
    sizes: Sequence[tuple[int, int]],
    most: int = MOST,
    classes: Classes = None,
) -> Predictions:
    """The predictions of a dense head, from its raw outputs by level."""
    reader = reader_of(head)
    slots = reader.slots(outputs, levels)
    found = _clipped(slots.boxes, _of_classes(reader.scores(slots), classes), sizes)
    parts = zip(*(part.split(slots.counts, 1) for part in found), strict=True)
    by_level = [without_duplicates(best_boxes(Predictions(*part), 3 * most), 3 * most) for part in parts]
    every = Predictions(*(torch.cat(parts, 1) for parts in zip(*by_level, strict=True)))
    return without_duplicates(best_boxes(every, 3 * most), most)


def of_roi_head(
    coder: Any, outputs: RoIOutputs, sizes: Sequence[tuple[int, int]], most: int = MOST, classes: Classes = None
) -> Predictions:
    """The predictions of the last stage of a RoI head. `coder` is that of its boxes."""
    scores = _of_classes(outputs.cls_score.softmax(1)[:, :-1], classes)
    found = boxes.decode(coder, boxes.codes_of_class(outputs.bbox_pred, scores.argmax(1)), outputs.rois[:, 1:])
    # the proposals of all images have the same number at most: those of others have no score
    own = outputs.rois[:, 0] == torch.arange(len(sizes), device=scores.device)[:, None]  # (B, R)
    every = _clipped(found.expand(len(sizes), -1, -1), scores * own[..., None], sizes)
    return without_duplicates(best_boxes(every, 3 * most), most)


def of_queries(
    outputs: QueryOutputs, sizes: Sequence[tuple[int, int]], most: int = MOST, classes: Classes = None
) -> Predictions:
    """The predictions of a DETR's last layer."""
    corners = torch.stack([in_pixels(*of_image) for of_image in zip(outputs.boxes, sizes, strict=True)])
    return best_boxes(_clipped(corners, _of_classes(outputs.logits.sigmoid(), classes), sizes), most)


def _of_classes(scores: Tensor, classes: Classes) -> Tensor:
    """Scores `(..., C)` with 0 for the classes that do not count."""
    if classes is None:
        return scores
    return scores * constant(
        tuple(float(one in classes) for one in range(scores.shape[-1])), scores.device, scores.dtype
    )


def _clipped(found: Tensor, scores: Tensor, sizes: Sequence[tuple[int, int]]) -> Predictions:
    """Boxes `(B, N, 4)` and scores `(B, N, C)`, as a detector has them before its NMS."""
    limits = torch.stack([constant((width, height) * 2, found.device, found.dtype) for height, width in sizes])
    clipped = torch.minimum(found.clamp(min=0), limits[:, None])
    return Predictions(clipped, scores * boxes.has_area(clipped)[..., None])


def best_boxes(found: Predictions, most: int) -> Predictions:
    """The boxes of the highest scores, the highest first."""
    highest = found.scores.amax(2)
    places = highest.topk(min(most, highest.shape[1]), 1).indices[..., None]
    return Predictions(*(part.gather(1, places.expand(-1, -1, part.shape[2])) for part in found))


def without_duplicates(found: Predictions, most: int, overlap: float = DUPLICATE) -> Predictions:
    """Boxes without those that overlap one of a higher score by more than `overlap`, be that one a duplicate or not.

    This is Fast NMS (Bolya et al. 2019, "YOLACT"), for all classes together: the host does not wait for the device.
    """
    found = best_boxes(found, found.boxes.shape[1])
    with_better = boxes.overlaps(found.boxes, found.boxes).triu(1).amax(1)
    return best_boxes(found._replace(scores=found.scores * (with_better <= overlap)[..., None]), most)


def problem_of_scores(teacher: nn.Module) -> str | None:
    """Why the scores of a detector's dense head or queries are not known; `None` if they are."""
    if has_queries(teacher):
        return problem_of_decoder(teacher, "teacher")
    try:
        reader_of(dense_head(teacher))
    except UnreadableHead as error:
        return error.problem
    return None


def scores_of_head(head: nn.Module, outputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The highest score over classes and anchors at each position, times that of their quality, by level.

    Shape: `(B, 1, H, W)` in [0, 1].
    """
    reader, scores = reader_of(head), []
    for level in outputs:
        of_anchors = reader.class_logits(level).amax(2).sigmoid()
        scores.append((of_anchors if reader.quality is None else of_anchors * level[2].sigmoid()).amax(1, keepdim=True))
    return scores


def scores_of_queries(outputs: QueryOutputs, maps: Sequence[Tensor]) -> list[Tensor]:
    """The same of a DETR: the highest score of the boxes that contain a position, 0 in none. `maps` give the sizes."""
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
