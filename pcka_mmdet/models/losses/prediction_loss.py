"""A loss that gives a teacher's boxes and scores, of any family, to the student's own head.

Shape shorthand: B images, M slots of the student's head (anchors or points of all levels), N boxes, C classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..detector_parts import UnreadableHead, dense_head, num_classes, stages
from ..heads import boxes, class_entropy, reader_of
from ..heads.slots import UNSURE, by_assigner
from ..outputs import constant
from ..queries import QueryOutputs, has_queries, in_pixels, problem_of_decoder
from ..sources import RoIOutputs
from ..teacher.predictions import DETECTED_TWICE, Predictions, best_boxes, problem_of_scores, without_duplicates
from ..teacher.teacher import Teacher
from .head_loss import JointHeadLoss, Sums, weighted_sums
from .level_loss import Batch
from .roi_head_loss import problem_of_roi_head


@MODELS.register_module()
class PredictionLoss(JointHeadLoss):
    """The student's head learns the teacher's boxes and class scores, by the assigner of its own training.

    The teacher may be of any family with a box head: anchors, points, two stages or queries. Its 100 best boxes without
    duplicates take the place of objects: the student's head assigns them to its anchors or points as in its own
    training (`HeadReader.assign`). An anchor that is to predict a box has the box's class scores as targets, times how
    far it is to predict it; one that is to predict none has 0. `weighted_sums` has the formulas, boxes differ by
    2 (1 - GIoU); the divisor is that of `HeadLoss`. Both sides need the same classes.

    With `source="roi_head"` the proposals of a two-stage student, after its own sampling, take the place of anchors: of
    the boxes that it overlaps by the assigner's `pos_iou_thr`, a proposal is to predict that of the highest product of
    overlap and score. Class scores: cross-entropy to the box's scores, what lacks to 1 is the background's; weighted by
    half the L1 distance. The sum is divided by the number of proposals. The gradient there cannot be balanced.

    With `source="decoder"` the queries of a DETR do, in each layer of the decoder: its assigner gives the best boxes,
    as many as there are queries and with a score of 0.1 at least, to one query each. Boxes of a teacher with NMS that
    overlap a better one by more than 0.5 are left out.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box term relative to the class term.
        classes: Index of each common class in the student's head and in the teacher's, where the classes differ. Scores
            of other classes are not compared. `None`: both have the same classes.
    """

    source = ("head", "predictions")
    sources = ("head", "roi_head", "decoder")
    paired = False
    metric = "similarity.predictions"
    """1 - the sum of |p_s - t| over that of p_s + t, of class scores and targets, in [0, 1]. Of proposals: 1 - the mean
    weight of the class term."""

    def __init__(
        self, loss_weight: float = 1.0, box_weight: float = 1.0, classes: Sequence[tuple[int, int]] | None = None
    ):
        super().__init__(loss_weight, box_weight)
        if classes is not None and not classes:
            raise ValueError("PredictionLoss: classes is empty: leave it out, or name a common class as in [(0, 3)]")
        self.classes = classes and [tuple(pair) for pair in classes]

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for heads of unknown families, and for classes that a head does not have."""
        problem = problem_of_roi_head(student, "student") if self._reads_proposals else problem_of_student(student)
        if problem := problem or problem_of_teacher(teacher.detector):
            raise UnreadableHead(f"PredictionLoss: {problem}")
        counts = num_classes(student), num_classes(teacher.detector)
        if self.classes is None and counts[0] != counts[1]:
            raise ValueError(
                f"PredictionLoss: the student has {counts[0]} classes, the teacher {counts[1]}: give the common ones, "
                "such as classes=[(0, 3)] if the student's first is the teacher's fourth"
            )
        for pair in self.classes or ():
            if len(pair) != 2 or any(not 0 <= one < count for one, count in zip(pair, counts, strict=False)):
                raise ValueError(
                    f"PredictionLoss: classes are pairs of indices, below {counts[0]} of the student and below "
                    f"{counts[1]} of the teacher, got {pair}"
                )

    @property
    def _reads_proposals(self) -> bool:
        level = self.pairs[0].student
        return level.stride is None and level.index >= 0  # layers of a decoder are counted from the last one

    def forward(self, student: Sequence[Any], teacher: Predictions, batch: Batch) -> Tensor:
        """Weighted loss of the student's outputs by level, stage or layer, to the teacher's predictions."""
        if teacher.boxes.shape[1] == 0:  # a two-stage teacher without proposals: a box without a score
            teacher = Predictions(*(F.pad(part, (0, 0, 0, 1)) for part in teacher))
        teacher = Predictions(teacher.boxes / batch.teacher_scale, self._common(teacher.scores, 1))
        if self.pairs[0].stride is not None:
            return self.weighted([self._of_slots(student, teacher, batch)])
        if not self._reads_proposals:
            if not has_queries(batch.teacher.detector):  # a decoder has no NMS
                teacher = without_duplicates(teacher, teacher.boxes.shape[1], DETECTED_TWICE)
            return self.weighted([self._of_layer(layer, teacher, batch) for layer in student])
        heads = stages(batch.student.roi_head, "bbox_head")
        of_stages = enumerate(zip(heads, student, strict=True))
        return self.weighted([self._of_stage(number, stage, teacher, batch) for number, stage in of_stages])

    def _of_slots(self, student: Sequence[tuple[Tensor, ...]], teacher: Predictions, batch: Batch) -> Sums:
        """Sums over the anchors or points of a dense head."""
        reader = reader_of(dense_head(batch.student))
        slots = reader.slots(student, [pair.student for pair in self.pairs])
        found, scores = teacher.boxes, teacher.scores
        proposes = getattr(batch.student, "rpn_head", None) is not None
        if proposes:  # it scores objects
            scores = scores.amax(2, keepdim=True)
        else:
            slots = slots._replace(logits=self._common(slots.logits, 0))
        detached = slots._replace(logits=slots.logits.detach(), boxes=slots.boxes.detach())
        assigned = [reader.assign(detached, image, *of) for image, of in enumerate(zip(found, scores, strict=True))]
        index, fits = (torch.stack(parts) for parts in zip(*assigned, strict=True))
        boxes_of, targets = _chosen(found, scores, index, fits)
        entropy, predicted = reader.class_entropy(slots, targets)
        if proposes and not self._knows_all(batch.student):
            predicted = torch.minimum(predicted, targets)  # there may be an object of another class
        sizes = [
            sample.metainfo.get("pad_shape", batch.image_size)[:2]
            for sample in (batch.samples or ())[: len(slots.logits)]
        ]
        inside = reader.in_images(student, [pair.student for pair in self.pairs], sizes) if sizes else None
        if inside is not None:
            predicted, targets = (part * inside[..., None] for part in (predicted, targets))
        return weighted_sums(entropy, predicted, targets, boxes.difference(slots.boxes, boxes_of))

    def _of_layer(self, outputs: QueryOutputs, teacher: Predictions, batch: Batch) -> Sums:
        """Sums over the queries of a layer; N queries."""
        head, number = batch.student.bbox_head, batch.student.num_queries
        logits, places = (part[:, -number:] for part in outputs)  # denoising queries are first
        logits, teacher = self._common(logits, 0), best_boxes(teacher, number)
        scores = teacher.scores * (teacher.scores.amax(2, keepdim=True) >= UNSURE)
        corners, assigned = [], []
        for image, sample in enumerate(batch.samples[: len(logits)]):
            height, width = sample.img_shape[:2]
            own = in_pixels(places[image], (height, width))
            predicted = InstanceData(scores=logits[image].detach(), bboxes=own.detach())
            meta = dict(img_shape=(height, width))
            assigned.append(by_assigner(head.assigner, teacher.boxes[image], scores[image], predicted, img_meta=meta))
            corners.append(own)
        index, fits = (torch.stack(parts) for parts in zip(*assigned, strict=True))
        boxes_of, targets = _chosen(teacher.boxes, scores, index, fits)
        difference = boxes.difference(torch.stack(corners), boxes_of)
        return weighted_sums(*class_entropy(logits, targets), targets, difference)

    def _of_stage(self, number: int, stage: tuple[nn.Module, RoIOutputs], teacher: Predictions, batch: Batch) -> Sums:
        """Sums over the proposals of a stage; R proposals."""
        head, outputs = stage
        assigners = batch.student.roi_head.bbox_assigner
        assigner = assigners[number] if isinstance(assigners, list) else assigners
        image, proposals = outputs.rois[:, 0].long(), outputs.rois[:, 1:]
        found, scores = teacher.boxes[image], teacher.scores[image]  # (R, N, 4), (R, N, C)
        overlaps, highest = boxes.overlaps(proposals[:, None], found)[:, 0], scores.amax(2)
        fits = (overlaps >= assigner.pos_iou_thr) * highest
        best, rows = (fits * overlaps).argmax(1), torch.arange(len(fits), device=fits.device)
        score = fits[rows, best]
        common = scores[rows, best] * (score > 0)[:, None]
        common = common / common.sum(1, keepdim=True).clamp(min=1)
        classes = common
        if self.classes:
            nothing = common.new_zeros(len(rows), outputs.cls_score.shape[1] - 1)
            classes = nothing.index_copy(1, self._indices(0, common.device), common)
        target = torch.cat([classes, 1 - classes.sum(1, keepdim=True)], 1)
        weight = (outputs.cls_score.detach().softmax(1) - target).abs().sum(1) / 2
        if not self._knows_all(batch.student):  # what the teacher is not sure of may be an object of another class
            weight = weight * score
        entropy = F.cross_entropy(outputs.cls_score, target, reduction="none")
        codes = boxes.codes_of_class(outputs.bbox_pred, classes.argmax(1))
        difference = boxes.difference(boxes.decode(head.bbox_coder, codes, proposals), found[rows, best])
        count = torch.ones_like(score).sum()
        return Sums((entropy * weight).sum(), (difference * score).sum(), count, weight.sum(), count)

    def _knows_all(self, student: nn.Module) -> bool:
        """Whether the teacher knows all classes of the student."""
        return self.classes is None or len({one for one, _ in self.classes}) == num_classes(student)

    def _common(self, scores: Tensor, side: int) -> Tensor:
        """The scores `(..., C)` of the common classes. `side` is 0 for the student's, 1 for the teacher's."""
        return scores if self.classes is None else scores.index_select(-1, self._indices(side, scores.device))

    def _indices(self, side: int, device: torch.device) -> Tensor:
        return constant(tuple(pair[side] for pair in self.classes), device, torch.long)

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        return ["the teacher's boxes", *([f"{len(self.classes)} common classes"] if self.classes else [])]


def problem_of_student(student: nn.Module) -> str | None:
    """Why a detector's dense head or queries cannot learn a teacher's boxes; `None` if they can."""
    if has_queries(student):
        return problem_of_decoder(student, "student", learns=True)
    try:
        reader = reader_of(dense_head(student))
    except UnreadableHead as error:
        return error.problem
    return None if reader.assigns else f"what a {type(reader.head).__name__} is to predict is not known"


def problem_of_teacher(teacher: nn.Module) -> str | None:
    """Why it is not known what a detector finds; `None` if it is."""
    return problem_of_scores(teacher) or (problem_of_roi_head(teacher) if getattr(teacher, "roi_head", None) else None)


def _chosen(found: Tensor, scores: Tensor, index: Tensor, fits: Tensor) -> tuple[Tensor, Tensor]:
    """Box `(B, M, 4)` and class targets `(B, M, C)` of each slot, from its box's index and its fit `(B, M)`.

    Boxes `(B, N, 4)` and scores `(B, N, C)` may be of further images, which do not count.
    """
    index, images = index[..., None], len(index)
    targets = scores[:images].gather(1, index.expand(-1, -1, scores.shape[2])) * fits[..., None]
    return found[:images].gather(1, index.expand(-1, -1, 4)), targets
