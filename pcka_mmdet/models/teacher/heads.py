"""The teacher's frozen heads on any maps. Gradients reach the maps, but no parameter.

Shape shorthand: a map is `(B, C, H, W)`; R proposals are `(R, 5)`, the image's index and a box in pixels.
"""

import copy
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from pcka_mmdet.configuration.sentence import warn

from ..attempts import first_process_decides, tried
from ..detector_parts import dense_head, stages
from ..heads import boxes
from ..levels import Level, neck_levels
from ..outputs import box_tensor, in_float32
from ..queries import DecoderInputs, Queries, QueryOutputs, by_layer, general_queries, has_queries, maps_of_memory
from ..sources import Record, RoIOutputs, by_level
from . import predictions
from .optimisation import dtype_on
from .predictions import Predictions

SMALL_SIDE = 4
"""Side of a map that takes the place of one left out. Deformable convolutions refuse maps smaller than a kernel."""


class FrozenHeads:
    """The heads of a frozen detector. Their outputs are in float32.

    Args:
        detector: The detector, in eval mode.
        precision: See `dtype_on`. Only the dense head computes in bfloat16, if its operators support that. No head
            computes in float16, in which small gradients would vanish.
    """

    def __init__(self, detector: BaseModel, precision: str = "fp32"):
        self.detector = detector
        self.precision = precision
        self._supports_bfloat16: dict[torch.device, bool] = {}
        self._decoder: DecoderInputs | None = None

    @property
    def dense_head(self) -> nn.Module:
        """The dense head, or RPN."""
        return dense_head(self.detector)

    def head(self, maps: Sequence[Tensor | None]) -> list[tuple[Tensor, ...] | None]:
        """Raw outputs of the dense head, or RPN: for each level a map of each kind (class scores, boxes ...).

        Args:
            maps: A map for each level of the neck; `None` leaves a level out.

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
        if error:  # mmcv's deformable convolution
            warn(f"the teacher's head runs in fp32: torch.bfloat16 fails ({error})")
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
        """Raw outputs of the RoI head for proposals `(R, 5)` of each stage; surplus proposals are ignored."""
        maps, proposals = in_float32(maps), in_float32(proposals)
        with self._without_autocast():
            return [self._run_stage(*stage, maps, rois) for stage, rois in zip(self._stages, proposals, strict=False)]

    @torch.no_grad()
    def own_proposals(
        self,
        maps: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        most: int,
        of_rpn: Sequence[tuple[Tensor, ...]] | None = None,
    ) -> list[RoIOutputs]:
        """Raw outputs of the RoI head for the detector's proposals, which each stage of a cascade refines.

        The host waits for the device in MMDetection's code: in the RPN's NMS, and where a RoI extractor sorts.

        Args:
            maps: Maps of the neck.
            image_sizes: Height and width of each image in pixels, without padding.
            most: Number of proposals of an image, those with the highest scores.
            of_rpn: The RPN's outputs for these maps by level, if it has run already; see `head`.
        """
        head_stages, rpn = self._stages, self.detector.rpn_head
        of_rpn = self.head(maps) if of_rpn is None else of_rpn
        maps, config = in_float32(maps), copy.deepcopy(rpn.test_cfg)
        config.max_per_img = most
        metas = [dict(img_shape=size, scale_factor=(1.0, 1.0)) for size in image_sizes]
        with self._without_autocast():
            proposals = rpn.predict_by_feat(*zip(*of_rpn, strict=True), batch_img_metas=metas, cfg=config)
            by_image = [box_tensor(instances.bboxes) for instances in proposals]
            rois = torch.cat([torch.cat([box.new_full((len(box), 1), i), box], 1) for i, box in enumerate(by_image)])
            outputs: list[RoIOutputs] = []
            for number, (extractor, head) in enumerate(head_stages):
                if outputs:
                    coder = head_stages[number - 1][1].bbox_coder
                    rois = _refined(coder, outputs[-1], [len(box) for box in by_image], image_sizes)
                outputs.append(self._run_stage(extractor, head, maps, rois))
        return outputs

    @torch.no_grad()
    def queries(
        self, maps: Sequence[Tensor], samples: Sequence[BaseDataElement] | None, general: int = 0
    ) -> tuple[Record, list[Queries]]:
        """The sources `queries` and `memory` of a DETR, and the queries that students share: its own and general ones.

        Args:
            maps: Maps of the neck.
            samples: Data samples of the images, whose sizes tell them from their padding.
            general: Number of general queries; see `general_queries`.

        Raises:
            ValueError: There are no data samples.
        """
        if not samples:
            kind = type(self.detector).__name__
            raise ValueError(f"a {kind} tells images from their padding by data samples: give the teacher some")
        if self._decoder is None:
            self._decoder = DecoderInputs(self.detector)
        decoder, maps = self._decoder, in_float32(maps)
        decoder.keeps = True
        try:
            with self._without_autocast():
                outputs = self.detector.bbox_head.forward(**self.detector.forward_transformer(maps, samples))
                shared, memory = [decoder.queries], maps_of_memory(decoder.memory, maps)
                if general:
                    shared.append(general_queries(shared[0], general))
                    others = decoder.decode(shared[1])
                    outputs = [torch.cat(kinds, 2) for kinds in zip(outputs, others, strict=True)]
        finally:
            decoder.forget()
        return dict(queries=by_layer(*outputs), memory=memory), shared

    def predictions(
        self, record: Record, sizes: Sequence[tuple[int, int]], classes: Collection[int] | None = None
    ) -> Predictions:
        """What the detector finds of some classes, `None` for all, from its sources `queries`, or `neck` and `head`;
        `sizes` are without padding."""
        most = predictions.most_boxes(self.detector)
        if has_queries(self.detector):
            return predictions.of_queries(self.own_queries(record), sizes, most, classes)
        if getattr(self.detector, "roi_head", None) is None:
            return predictions.of_head(self.dense_head, record["head"], self._neck_levels, sizes, most, classes)
        outputs = self.own_proposals(record["neck"], sizes, 3 * most, record["head"])
        logits = torch.stack([stage.cls_score for stage in outputs]).mean(0)  # a cascade averages its stages
        of_last = outputs[-1]._replace(cls_score=logits)
        return predictions.of_roi_head(self._stages[-1][1].bbox_coder, of_last, sizes, most, classes)

    def own_queries(self, record: Record) -> QueryOutputs:
        """The outputs of a DETR's last layer for its own queries, without general ones, from the source `queries`."""
        return QueryOutputs(*(part[:, : self.detector.num_queries] for part in record["queries"][-1]))

    def try_roi_head(self) -> None:
        """Run the RoI head on maps of zeros; raises what it raises."""
        self.own_proposals(self._zero_maps(), [(256, 256)], 2)

    def _zero_maps(self) -> list[Tensor]:
        like = next(self.detector.parameters())
        return [like.new_zeros(1, level.channels, SMALL_SIDE, SMALL_SIDE) for level in self._neck_levels]

    @property
    def _stages(self) -> list[tuple[nn.Module, nn.Module]]:
        """RoI extractor and head of each stage."""
        roi_head = self.detector.roi_head
        return list(zip(stages(roi_head, "bbox_roi_extractor"), stages(roi_head, "bbox_head"), strict=True))

    def _run_stage(self, extractor: nn.Module, head: nn.Module, maps: Sequence[Tensor], rois: Tensor) -> RoIOutputs:
        # mmcv's RoIAlign reads maps in channels last as if they were not
        features = extractor([feature_map.contiguous() for feature_map in maps[: extractor.num_inputs]], rois)
        if getattr(self.detector.roi_head, "with_shared_head", False):
            features = self.detector.roi_head.shared_head(features)
        return RoIOutputs(rois, *head(features)[:2])

    @cached_property
    def _neck_levels(self) -> list[Level]:
        return neck_levels(self.detector)

    @property
    def _device(self) -> torch.device:
        return next(self.detector.parameters()).device

    def _without_autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, enabled=False)


def _refined(coder: Any, outputs: RoIOutputs, counts: Sequence[int], image_sizes: Sequence[tuple[int, int]]) -> Tensor:
    """The proposals of the next stage of a cascade, `(R, 5)`, clipped to the images; `counts` is by image."""
    codes = boxes.codes_of_class(outputs.bbox_pred, outputs.cls_score[:, :-1].argmax(1))
    refined = boxes.decode(coder, codes, outputs.rois[:, 1:])
    if getattr(coder, "clip_border", True):
        for box, (height, width) in zip(refined.split(counts), image_sizes, strict=True):
            box[:, 0::2].clamp_(0, width)
            box[:, 1::2].clamp_(0, height)
    return torch.cat([outputs.rois[:, :1], refined], 1)
