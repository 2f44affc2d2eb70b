"""The teacher's frozen heads on any maps. Gradients reach the maps, but no parameter.

Shape shorthand: a map is `(B, C, H, W)`; R proposals are `(R, 5)`, the image's index and a box in pixels.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..heads import boxes
from ..levels import Level
from ..outputs import box_tensor
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
    # a head may treat its levels differently, so each map must be at its place: a small map replaces those left out,
    # no smaller than a kernel, since deformable convolutions refuse that
    placed = [
        given.new_zeros(len(given), level.channels, 4, 4) if m is None else m
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
    number = _num_stages(detector)
    return [_run_stage(detector, stage, maps, rois) for stage, rois in zip(range(number), proposals, strict=False)]


def run_on_own_proposals(
    detector: BaseModel,
    maps: Sequence[Tensor],
    of_rpn: Sequence[tuple[Tensor, ...]],
    image_sizes: Sequence[tuple[int, int]],
    most: int,
) -> list[RoIOutputs]:
    """Raw outputs of the RoI head for the detector's own proposals, which each stage of a cascade refines.

    The host waits for the device where MMDetection does: in the RPN's NMS, and where a RoI extractor sorts proposals.

    Args:
        detector: The detector, in eval mode.
        maps: Its neck maps.
        of_rpn: Raw outputs of its RPN for them, by level.
        image_sizes: Height and width of each image in pixels, without padding.
        most: Proposals of an image: those with the highest scores.

    Raises:
        ValueError: The detector has no RoI head.
    """
    number = _num_stages(detector)
    metas = [dict(img_shape=size, scale_factor=(1.0, 1.0)) for size in image_sizes]
    config = copy.deepcopy(detector.rpn_head.test_cfg)
    config.max_per_img = most
    proposals = detector.rpn_head.predict_by_feat(*zip(*of_rpn, strict=True), batch_img_metas=metas, cfg=config)
    by_image = [box_tensor(instances.bboxes) for instances in proposals]
    rois = torch.cat([torch.cat([box.new_full((len(box), 1), i), box], 1) for i, box in enumerate(by_image)])
    outputs: list[RoIOutputs] = []
    for stage in range(number):
        outputs.append(_run_stage(detector, stage, maps, rois))
        if stage + 1 < number:
            head = stages(detector.roi_head, "bbox_head")[stage]
            rois = _refined(head.bbox_coder, outputs[-1], [len(box) for box in by_image], image_sizes)
    return outputs


def _num_stages(detector: BaseModel) -> int:
    roi_head = getattr(detector, "roi_head", None)
    if roi_head is None:
        raise ValueError(f"{type(detector).__name__} has no RoI head: choose a two-stage teacher")
    return len(stages(roi_head, "bbox_head"))


def _run_stage(detector: BaseModel, stage: int, maps: Sequence[Tensor], rois: Tensor) -> RoIOutputs:
    roi_head = detector.roi_head
    extractor = stages(roi_head, "bbox_roi_extractor")[stage]
    # mmcv's RoIAlign reads maps in channels last as if they were not
    features = extractor([feature_map.contiguous() for feature_map in maps[: extractor.num_inputs]], rois)
    if getattr(roi_head, "with_shared_head", False):
        features = roi_head.shared_head(features)
    return RoIOutputs(rois, *stages(roi_head, "bbox_head")[stage](features)[:2])


def _refined(coder: Any, outputs: RoIOutputs, counts: Sequence[int], image_sizes: Sequence[tuple[int, int]]) -> Tensor:
    """The proposals of the next stage of a cascade, `(R, 5)`, clipped to the images.

    Args:
        coder: The stage's `bbox_coder`.
        outputs: The stage's outputs.
        counts: Number of proposals of each image.
        image_sizes: Height and width of each image in pixels.
    """
    codes = boxes.codes_of_class(outputs.bbox_pred, outputs.cls_score[:, :-1].argmax(1))
    refined = boxes.decode(coder, codes, outputs.rois[:, 1:])
    if getattr(coder, "clip_border", True):
        for box, (height, width) in zip(refined.split(counts), image_sizes, strict=True):
            box[:, 0::2].clamp_(0, width)
            box[:, 1::2].clamp_(0, height)
    return torch.cat([outputs.rois[:, :1], refined], 1)
