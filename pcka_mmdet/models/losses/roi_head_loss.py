"""A loss on the outputs of the teacher's RoI head for the student's maps.

Shape shorthand: R proposals, K classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..heads import boxes
from ..levels import Level, LevelPair
from ..outputs import zero_of
from ..sources import RoIOutputs, stages
from .connectors import Connectors
from .level_loss import Batch, LevelLoss

if TYPE_CHECKING:
    from ..teacher import Teacher


@MODELS.register_module()
class RoIHeadLoss(LevelLoss):
    """Compares the outputs of the teacher's frozen RoI head for the student's maps with those for the teacher's maps.

    Both are for the teacher's own proposals; in a cascade the teacher refines them from stage to stage. The student's
    neck maps go through a 1x1 connector, where channels differ. The student may be a detector of one stage. Proposals
    on a level that the student lacks are left out.

    Class scores are compared by cross-entropy to the teacher's probabilities p_t, weighted by half the L1 distance of
    p_s and p_t. Boxes of the teacher's class are compared by 2 (1 - GIoU), weighted by the teacher's score 1 - p_t
    (background). The sum over all stages is divided by the sum of the teacher's scores, or by 1 if that is less.
    `HeadLoss` compares the RPN.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box term relative to the class term.
        proposals: Proposals of an image: those with the highest scores.

    Raises:
        ValueError: `proposals` is below 1.
    """

    sources = ()
    joint = True
    metric = "similarity.roi_head"
    """1 - the mean of half of |p_s - p_t| over the proposals of all stages, in [0, 1]."""

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0, proposals: int = 128):
        super().__init__(loss_weight)
        if proposals < 1:
            raise ValueError(f"RoIHeadLoss: proposals is at least 1, such as 128; got {proposals}")
        self.box_weight = box_weight
        self.proposals = proposals

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        """Build a connector for each level whose channels differ."""
        self.connectors = Connectors([LevelPair(*pair) for pair in zip(student, teacher, strict=True)])

    def check_models(self, student: nn.Module, teacher: "Teacher") -> None:
        """Refuse a teacher without a RoI head, or with one whose outputs are of another kind.

        Raises:
            ValueError: There is no RoI head, it was not loaded in full, its outputs are of another kind, or the student
                has none of its levels.
        """
        problem = problem_of_roi_head(teacher.detector)
        if problem:
            raise ValueError(f"RoIHeadLoss: {problem}: use pcka_mmdet.HeadLoss, which reads the dense head or the RPN")
        kind = type(teacher.detector).__name__
        teacher.check_sources(("roi_head",))
        if not self._available(stages(teacher.detector.roi_head, "bbox_roi_extractor")[0]):
            raise ValueError("RoIHeadLoss: the student has none of the levels that the teacher's RoI head reads")
        try:
            teacher.try_roi_head()
        except (TypeError, RuntimeError, AttributeError, ValueError) as error:
            if "implementation for device" in str(error):
                return  # an operator of mmcv that a GPU alone has, and models are built on the CPU
            raise ValueError(
                f"RoIHeadLoss: the RoI head of this teacher, a {kind}, cannot be run on its own ({error}): use "
                "pcka_mmdet.HeadLoss on its RPN"
            ) from error

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch) -> Tensor:
        """Weighted loss, from the student's and the teacher's neck maps by level, `(B, C, H, W)`."""
        detector = batch.teacher.detector
        sizes = [batch.image_size] * len(student[0])
        if batch.samples is not None:
            sizes = [tuple(sample.metainfo.get("img_shape", batch.image_size)[:2]) for sample in batch.samples]
        teacher_outputs = batch.teacher.own_proposals(batch.teacher_maps, sizes, self.proposals, batch.teacher_outputs)
        placed = self.connectors.placed(student, len(batch.teacher_maps))
        maps = [torch.zeros_like(like) if m is None else m for m, like in zip(placed, batch.teacher_maps, strict=True)]
        student_outputs = batch.teacher.roi_head(maps, [outputs.rois for outputs in teacher_outputs])
        heads, extractors = (stages(detector.roi_head, part) for part in ("bbox_head", "bbox_roi_extractor"))
        sums = [
            self._sums(head.bbox_coder, *sides, self._kept(extractor, sides[1]))
            for head, extractor, *sides in zip(heads, extractors, student_outputs, teacher_outputs, strict=True)
        ]
        classes, box_sum, scores, differences, count = (sum(values) for values in zip(*sums, strict=True))
        self.similarity = 1 - differences / count.clamp(min=1)
        unused = zero_of(self.connectors.parameters(), classes)
        return self.loss_weight * (classes + self.box_weight * box_sum) / scores.clamp(min=1) + unused

    def _available(self, extractor: nn.Module) -> list[int]:
        """Indices of the levels of a RoI extractor that the student has too."""
        return [pair.teacher.index for pair in self.connectors.pairs if pair.teacher.index < extractor.num_inputs]

    def _kept(self, extractor: nn.Module, outputs: RoIOutputs) -> Tensor:
        """1 for proposals on levels that the student has, else 0: `(R,)`. To select them, the host would wait."""
        levels = extractor.map_roi_levels(outputs.rois, extractor.num_inputs)
        kept = torch.stack([levels == index for index in self._available(extractor)]).any(0)
        return kept.to(outputs.cls_score.dtype)

    @staticmethod
    def _sums(coder: Any, student: RoIOutputs, teacher: RoIOutputs, kept: Tensor) -> tuple[Tensor, ...]:
        """Sums over the proposals of a stage, each times `kept`: class loss, box loss, the teacher's scores, the
        differences of the class distributions, each in [0, 1], and 1."""
        log_own, target = student.cls_score.log_softmax(1), teacher.cls_score.softmax(1)
        weight = (log_own.detach().exp() - target).abs().sum(1) / 2 * kept
        classes = (F.cross_entropy(student.cls_score, target, reduction="none") * weight).sum()
        scores, best = (1 - target[:, -1]) * kept, target[:, :-1].argmax(1)
        decoded = (boxes.decode(coder, boxes.codes_of_class(side.bbox_pred, best)) for side in (student, teacher))
        return classes, (boxes.difference(*decoded) * scores).sum(), scores.sum(), weight.sum(), kept.sum()

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        """Whose head it is, and connectors."""
        return ["the teacher's RoI head", *self.connectors.details()]


def problem_of_roi_head(teacher: nn.Module) -> str | None:
    """Why `RoIHeadLoss` cannot run a detector's RoI head; `None` if it can."""
    # here: classifiers train without mmdet
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder

    roi_head, kind = getattr(teacher, "roi_head", None), type(teacher).__name__
    if roi_head is None:
        return f"the teacher, a {kind}, has no RoI head"
    plain = getattr(type(roi_head), "_bbox_forward", None) in (
        StandardRoIHead._bbox_forward,
        CascadeRoIHead._bbox_forward,
    )
    heads, extractors = (stages(roi_head, part) for part in ("bbox_head", "bbox_roi_extractor"))
    softmax = all(not getattr(head, "custom_activation", True) and getattr(head, "with_reg", False) for head in heads)
    coders = [getattr(head, "bbox_coder", None) for head in heads]
    deltas = all(isinstance(coder, (DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder)) for coder in coders)
    if plain and softmax and deltas and all(hasattr(extractor, "map_roi_levels") for extractor in extractors):
        return None
    return (
        f"it knows the RoI heads of Faster, Mask and Cascade R-CNN, and the teacher, a {kind}, has a "
        f"{type(roi_head).__name__} that works in another way"
    )
