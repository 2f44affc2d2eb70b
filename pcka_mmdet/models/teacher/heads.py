"""The teacher's frozen heads on any maps. Gradients reach the maps, but no parameter.

Shape shorthand: a map is `(B, C, H, W)`; R proposals are `(R, 5)`, the image's index and a box in pixels.
"""

from collections.abc import Sequence

from mmengine.model import BaseModel
from torch import Tensor

from ..levels import Level
from ..sources import RoIOutputs, by_level, dense_head, stages


def run_dense_head(
    detector: BaseModel, levels: Sequence[Level], maps: Sequence[Tensor | None]
) -> list[tuple[Tensor, ...] | None]:
    """Raw outputs of the dense head, or the RPN, for neck maps.

    Args:
        detector: The detector, in eval mode.
        levels: Levels of its neck.
        maps: A map for each of them; `None` leaves a level out.

    Returns:
        A tuple of maps for each level, one map for each kind of output (class scores, boxes ...); `None` where a level
        was left out.

    Raises:
        ValueError: There is not one map for each level, or the head's outputs have no levels.
    """
    head = dense_head(detector)
    if len(maps) != len(levels):
        raise ValueError(
            f"the head of {type(detector).__name__} takes {len(levels)} maps, one a level, got {len(maps)}: give None "
            "for the levels to leave out"
        )
    given = next(m for m in maps if m is not None)
    # a head may treat its levels differently, so each map must be at its place: a 1x1 map replaces those left out
    placed = [
        given.new_zeros(len(given), level.channels, 1, 1) if m is None else m
        for m, level in zip(maps, levels, strict=True)
    ]
    outputs = by_level(head(placed), len(placed), type(head).__name__)
    return [None if m is None else output for m, output in zip(maps, outputs, strict=True)]


def run_roi_head(detector: BaseModel, maps: Sequence[Tensor], proposals: Sequence[Tensor]) -> list[RoIOutputs]:
    """Raw outputs of the RoI head for proposals.

    Args:
        detector: The detector, in eval mode.
        maps: Its neck maps.
        proposals: Proposals `(R, 5)` for each stage; those beyond the head's stages are ignored.

    Raises:
        ValueError: The detector has no RoI head.
    """
    roi_head = getattr(detector, "roi_head", None)
    if roi_head is None:
        raise ValueError(f"{type(detector).__name__} has no RoI head: choose a two-stage teacher")
    outputs = []
    parts = zip(stages(roi_head, "bbox_roi_extractor"), stages(roi_head, "bbox_head"), proposals, strict=False)
    for extractor, head, rois in parts:
        features = extractor(maps[: extractor.num_inputs], rois)
        if getattr(roi_head, "with_shared_head", False):
            features = roi_head.shared_head(features)
        outputs.append(RoIOutputs(rois, *head(features)[:2]))
    return outputs
