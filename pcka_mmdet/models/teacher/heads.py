"""The teacher's frozen heads on any maps. Gradients reach the maps, but no parameter.

Shape shorthand: a map is `(B, C, H, W)`; R proposals are `(R, 5)`, the image's index and a box in pixels.
"""

import copy
import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..heads import boxes
from ..levels import Level, neck_levels
from ..outputs import box_tensor, in_float32
from ..sources import RoIOutputs, by_level, dense_head, stages
from ..training_state import first_process_decides, tried
from .optimisation import dtype_on

SMALL_SIDE = 4
"""Side of a map that takes the place of one left out. Deformable convolutions refuse maps smaller than a kernel."""


class FrozenHeads:
    """The heads of a frozen detector. Their outputs are in float32.

    Args:
        detector: The detector, in eval mode.
        precision: See `dtype_on`. The dense head computes in bfloat16 if the precision is that and its operators
            support it, never in float16, in which small gradients would vanish. The RoI head computes in float32.
    """

    def __init__(self, detector: BaseModel, precision: str = "fp32"):
        self.detector = detector
        self.precision = precision
        self._supports_bfloat16: dict[torch.device, bool] = {}

    @property
    def dense_head(self) -> nn.Module:
        """The dense head, or RPN."""
        return dense_head(self.detector)

    @property
    def num_levels(self) -> int:
        """Levels of the neck."""
        return len(self._neck_levels)

    def head(self, maps: Sequence[Tensor | None]) -> list[tuple[Tensor, ...] | None]:
        """Raw outputs of the dense head, or RPN.

        Args:
            maps: A map for each level of the neck; `None` leaves a level out.

        Returns:
            A tuple of maps for each level, one map for each kind of output (class scores, boxes ...); `None` where a
            level was left out.

        Raises:
            ValueError: There is not one map for each level, or the head's outputs have no levels.
        """
        maps = in_float32(maps)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._uses_bfloat16(maps)):
            return in_float32(self._run_dense_head(maps))

    def _uses_bfloat16(self, maps: Sequence[Tensor | None]) -> bool:
        device = self._device
        if dtype_on(device, self.precision) is not torch.bfloat16:
            return False
        if device not in self._supports_bfloat16:
            self._supports_bfloat16[device] = first_process_decides(lambda: self._runs_in_bfloat16(maps))
        return self._supports_bfloat16[device]

    @torch.no_grad()
    def _runs_in_bfloat16(self, maps: Sequence[Tensor | None]) -> bool:
        with torch.autocast(self._device.type, torch.bfloat16):
            _, error = tried(lambda: self._run_dense_head(maps), RuntimeError)
        if error:  # such as mmcv's deformable convolution
            message = f"the teacher's head runs in fp32: torch.bfloat16 fails ({error})"
            print_log(message, "current", level=logging.WARNING)
        return error is None

    def _run_dense_head(self, maps: Sequence[Tensor | None]) -> list[tuple[Tensor, ...] | None]:
        levels = self._neck_levels
        if len(maps) != len(levels):
            raise ValueError(
                f"the head of {type(self.detector).__name__} takes {len(levels)} maps, one a level, got {len(maps)}: "
                "give None for the levels to leave out"
            )
        given = next(m for m in maps if m is not None)
        # a head may treat its levels differently, so each map must be at its place
        placed = [
            given.new_zeros(len(given), level.channels, SMALL_SIDE, SMALL_SIDE) if m is None else m
            for m, level in zip(maps, levels, strict=True)
        ]
        outputs = by_level(self.dense_head(placed), len(placed), type(self.dense_head).__name__)
        return [None if m is None else output for m, output in zip(maps, outputs, strict=True)]

    def roi_head(self, maps: Sequence[Tensor], proposals: Sequence[Tensor]) -> list[RoIOutputs]:
        """Raw outputs of the RoI head.

        Args:
            maps: Maps of the neck.
            proposals: Proposals `(R, 5)` for each stage; those beyond the head's stages are ignored.

        Raises:
            ValueError: The detector has no RoI head.
        """
        maps, proposals = in_float32(maps), in_float32(proposals)
        with self._without_autocast():
            return [self._run_stage(stage, maps, rois) for stage, rois in zip(self._stages, proposals, strict=False)]

    @torch.no_grad()
    def own_proposals(
        self,
        maps: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        most: int,
        of_rpn: Sequence[tuple[Tensor, ...]] | None = None,
    ) -> list[RoIOutputs]:
        """Raw outputs of the RoI head for the detector's proposals, which each stage of a cascade refines.

        The host waits for the device where MMDetection does: in the RPN's NMS, and where a RoI extractor sorts
        proposals.

        Args:
            maps: Maps of the neck.
            image_sizes: Height and width of each image in pixels, without padding.
            most: Proposals of an image: those with the highest scores.
            of_rpn: The RPN's outputs for these maps by level, if it has run already; see `head`.

        Raises:
            ValueError: The detector has no RoI head.
        """
        stage_indices = self._stages
        of_rpn = self.head(maps) if of_rpn is None else of_rpn
        maps, rpn = in_float32(maps), self.detector.rpn_head
        metas = [dict(img_shape=size, scale_factor=(1.0, 1.0)) for size in image_sizes]
        config = copy.deepcopy(rpn.test_cfg)
        config.max_per_img = most
        outputs: list[RoIOutputs] = []
        with self._without_autocast():
            proposals = rpn.predict_by_feat(*zip(*of_rpn, strict=True), batch_img_metas=metas, cfg=config)
            by_image = [box_tensor(instances.bboxes) for instances in proposals]
            rois = torch.cat([torch.cat([box.new_full((len(box), 1), i), box], 1) for i, box in enumerate(by_image)])
            for stage in stage_indices:
                if outputs:
                    coder = stages(self.detector.roi_head, "bbox_head")[stage - 1].bbox_coder
                    rois = _refined(coder, outputs[-1], [len(box) for box in by_image], image_sizes)
                outputs.append(self._run_stage(stage, maps, rois))
        return outputs

    @torch.no_grad()
    def try_dense_head(self) -> None:
        """Run the dense head on maps of zeros; raises what it raises."""
        self.head(self._zero_maps())

    def try_roi_head(self) -> None:
        """Run the RoI head on maps of zeros; raises what it raises."""
        self.own_proposals(self._zero_maps(), [(256, 256)], 2)

    def _zero_maps(self) -> list[Tensor]:
        like = next(self.detector.parameters())
        return [like.new_zeros(1, level.channels, SMALL_SIDE, SMALL_SIDE) for level in self._neck_levels]

    @property
    def _stages(self) -> range:
        """Indices of the RoI head's stages."""
        roi_head = getattr(self.detector, "roi_head", None)
        if roi_head is None:
            raise ValueError(f"{type(self.detector).__name__} has no RoI head: choose a two-stage teacher")
        return range(len(stages(roi_head, "bbox_head")))

    def _run_stage(self, stage: int, maps: Sequence[Tensor], rois: Tensor) -> RoIOutputs:
        roi_head = self.detector.roi_head
        extractor = stages(roi_head, "bbox_roi_extractor")[stage]
        # mmcv's RoIAlign reads maps in channels last as if they were not
        features = extractor([feature_map.contiguous() for feature_map in maps[: extractor.num_inputs]], rois)
        if getattr(roi_head, "with_shared_head", False):
            features = roi_head.shared_head(features)
        return RoIOutputs(rois, *stages(roi_head, "bbox_head")[stage](features)[:2])

    @cached_property
    def _neck_levels(self) -> list[Level]:
        return neck_levels(self.detector)

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device

    def _without_autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, enabled=False)


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
