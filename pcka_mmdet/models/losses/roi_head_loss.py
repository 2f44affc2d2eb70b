"""A loss on the outputs of the teacher's RoI head for the student's maps. R is the number of proposals."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..attempts import tried
from ..detector_parts import stages
from ..heads import boxes
from ..outputs import zero_of
from ..sources import RoIOutputs
from ..teacher.images import image_sizes
from ..teacher.teacher import Teacher
from .head_loss import JointHeadLoss, Sums
from .level_loss import Batch

ON_RPN = "use pcka_mmdet.HeadLoss, which reads the dense head or the RPN"


@MODELS.register_module()
class RoIHeadLoss(JointHeadLoss):
    """Compares the outputs of the teacher's frozen RoI head for the student's maps with those for the teacher's maps.

    Both are for the teacher's proposals, which it refines from stage to stage of a cascade; those on a level that the
    student lacks are left out. The student's neck maps go through a 1x1 connector, where channels differ. The student
    may be a detector of one stage.

    Class scores are compared by cross-entropy to the teacher's probabilities p_t, weighted by half the L1 distance of
    p_s and p_t. Boxes of the teacher's class are compared by 2 (1 - GIoU), weighted by the square of the teacher's
    score 1 - p_t (background). The sum over all stages is divided by that of the weights of boxes, at least 1.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box term relative to the class term.
        proposals: Proposals of an image: those with the highest scores, at least 1.
    """

    reads_larger_images = False
    metric = "similarity.roi_head"
    """1 - the mean of half of |p_s - p_t| over the proposals of all stages, in [0, 1]."""

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0, proposals: int = 128):
        super().__init__(loss_weight, box_weight)
        if proposals < 1:
            raise ValueError(f"RoIHeadLoss: proposals is at least 1, got {proposals}: write 128 for the default")
        self.proposals = proposals

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for a RoI head that is missing, not loaded in full, or unknown, or has no common level."""
        if problem := problem_of_roi_head(teacher.detector):
            raise ValueError(f"RoIHeadLoss: {problem}: {ON_RPN}")
        teacher.check_sources(("roi_head",))
        if not self._available(stages(teacher.detector.roi_head, "bbox_roi_extractor")[0]):
            raise ValueError("RoIHeadLoss: the student has none of the levels that the teacher's RoI head reads")
        error = tried(teacher.try_roi_head, TypeError, RuntimeError, AttributeError, ValueError)[1]
        if error and "implementation for device" not in str(error):  # some of mmcv's operators run on a GPU only
            kind = type(teacher.detector).__name__
            raise ValueError(f"RoIHeadLoss: the RoI head of a {kind} fails here ({error}): {ON_RPN}") from error

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        """Weighted loss, from the student's and the teacher's neck maps by level, `(B, C, H, W)`."""
        sizes = image_sizes(batch.samples, len(student[0]), batch.image_size)
        teacher_outputs = batch.teacher.own_proposals(batch.teacher_maps, sizes, self.proposals, batch.teacher_outputs)
        connected = self.connected(student, len(batch.teacher_maps))
        maps = [torch.zeros_like(t) if m is None else m for m, t in zip(connected, batch.teacher_maps, strict=True)]
        student_outputs = batch.teacher.roi_head(maps, [outputs.rois for outputs in teacher_outputs])
        roi_head = batch.teacher.detector.roi_head
        heads, extractors = (stages(roi_head, part) for part in ("bbox_head", "bbox_roi_extractor"))
        sums = [
            self._compare(head.bbox_coder, *sides, self._kept(extractor, sides[1]))
            for head, extractor, *sides in zip(heads, extractors, student_outputs, teacher_outputs, strict=True)
        ]
        return self.weighted(sums) + zero_of(self.connectors.parameters(), student[0])

    def _available(self, extractor: nn.Module) -> list[int]:
        """Indices of the levels of a RoI extractor that the student has too."""
        return [pair.teacher.index for pair in self.pairs if pair.teacher.index < extractor.num_inputs]

    def _kept(self, extractor: nn.Module, outputs: RoIOutputs) -> Tensor:
        """1 for proposals on levels that the student has, else 0: `(R,)`. To select them, the host would wait."""
        levels = extractor.map_roi_levels(outputs.rois, extractor.num_inputs)
        kept = torch.stack([levels == index for index in self._available(extractor)]).any(0)
        return kept.to(outputs.cls_score.dtype)

    @staticmethod
    def _compare(coder: Any, student: RoIOutputs, teacher: RoIOutputs, kept: Tensor) -> Sums:
        """Compare the outputs of a stage, each proposal times `kept`."""
        log_predicted, target = student.cls_score.log_softmax(1), teacher.cls_score.softmax(1)
        weight = (log_predicted.detach().exp() - target).abs().sum(1) / 2 * kept
        classes = (F.cross_entropy(student.cls_score, target, reduction="none") * weight).sum()
        scores, best = (1 - target[:, -1]) * kept, target[:, :-1].argmax(1)
        decoded = (boxes.decode(coder, boxes.codes_of_class(side.bbox_pred, best)) for side in (student, teacher))
        box_weights = scores.square()
        of_boxes = (boxes.difference(*decoded) * box_weights).sum()
        return Sums(classes, of_boxes, box_weights.sum(), weight.sum(), kept.sum())

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        return ["the teacher's RoI head", *super().details(size)]


def problem_of_roi_head(detector: nn.Module, side: str = "teacher") -> str | None:
    """Why the outputs of a detector's RoI head are not known; `None` if they are."""
    # here: classifiers train without mmdet
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder

    roi_head, kind = getattr(detector, "roi_head", None), type(detector).__name__
    if roi_head is None:
        return f"the {side}, a {kind}, has no RoI head"
    forwards = StandardRoIHead._bbox_forward, CascadeRoIHead._bbox_forward
    plain = getattr(type(roi_head), "_bbox_forward", None) in forwards
    heads, extractors = (stages(roi_head, part) for part in ("bbox_head", "bbox_roi_extractor"))
    softmax = all(not getattr(head, "custom_activation", True) and getattr(head, "with_reg", False) for head in heads)
    coders = DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder
    deltas = all(isinstance(getattr(head, "bbox_coder", None), coders) for head in heads)
    if plain and softmax and deltas and all(hasattr(extractor, "map_roi_levels") for extractor in extractors):
        return None
    return (
        f"it knows the RoI heads of Faster, Mask and Cascade R-CNN, and the {side}, a {kind}, has a "
        f"{type(roi_head).__name__} that works in another way"
    )
