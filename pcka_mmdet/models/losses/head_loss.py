"""Losses on the raw outputs of dense heads: the teacher's head on the student's maps, or the student's head."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..detector_parts import UnreadableHead, dense_head
from ..heads import HeadOutputs, HeadReader, class_entropy, difference_of_heads, reader_of
from ..levels import Level, LevelPair
from ..teacher.teacher import Teacher
from .level_loss import Batch, LevelLoss


class Sums(NamedTuple):
    """Sums over the positions of a level, or over the proposals of a stage. The first three are by class, or of all."""

    classes: Tensor
    """Differences of class scores, and of objectness."""
    boxes: Tensor
    """Differences of boxes and of box quality."""
    weights: Tensor
    """Weights of boxes, by which the loss is divided."""
    differences: Tensor
    """Absolute differences of class scores, detached."""
    largest_differences: Tensor
    """Upper bound of `differences`."""


class JointHeadLoss(LevelLoss):
    """Base of the losses on outputs of heads: one loss for all levels, with a connector where channels differ."""

    sources = ()
    joint = True

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0):
        super().__init__(loss_weight)
        self.box_weight = box_weight
        self.pairs: list[LevelPair] = []
        self.connectors = nn.ModuleDict()  # 1x1 convolutions to the teacher's channels, by name of the level

    def prepare(self, student: Sequence[Level], teacher: Sequence[Level]) -> None:
        self.pairs = [LevelPair(*pair) for pair in zip(student, teacher, strict=True)]
        for pair in self.pairs:
            channels = pair.student.channels, pair.teacher.channels
            if self.needs_connector(*channels):
                self.connectors[pair.name] = nn.Conv2d(*channels, kernel_size=1)

    def connected(self, maps: Sequence[Tensor], num_levels: int) -> list[Tensor | None]:
        """The student's maps after the connectors, each at the index of the teacher's level; `None` elsewhere."""
        placed: list[Tensor | None] = [None] * num_levels
        for pair, student_map in zip(self.pairs, maps, strict=True):
            connected = self.connectors[pair.name](student_map) if pair.name in self.connectors else student_map
            placed[pair.teacher.index] = connected
        return placed

    def weighted(self, sums: Sequence[Sums]) -> Tensor:
        """Loss of the sums of all levels or stages. Sets the similarity: 1 - differences over their upper bound."""
        total = Sums(*(sum(values) for values in zip(*sums, strict=True)))
        self.similarity = 1 - total.differences / total.largest_differences.clamp(min=1e-6)
        factors = class_factors(total.weights)
        classes, boxes, weights = ((factors * by_class).sum() for by_class in total[:3])
        return self.loss_weight * (classes + self.box_weight * boxes) / weights.clamp(min=1)

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        return [f"connectors at {', '.join(self.connectors)}"] if len(self.connectors) else []


@MODELS.register_module()
class HeadLoss(JointHeadLoss):
    """Compares the outputs of the teacher's frozen head for the student's maps with those for the teacher's maps.

    The student's neck maps go through a 1x1 connector, where channels differ, and through the teacher's head. The
    student's head is not read, and may be of any kind. The head of a two-stage teacher is its RPN. Student and teacher
    need the same classes, which the loss does not check; `tools/train.py --teacher` does, if it chooses the recipe.
    `compare` has the formulas. The sums over all levels have `class_factors`, and are divided by the sum of the weights
    of boxes, at least 1.

    Args:
        loss_weight: Factor of the whole loss.
        box_weight: Factor of the box term relative to the class term.
        images: Share of a batch's images that are compared, above 0 and up to 1, rounded up. They are spread over the
            batch, whose first images are the labelled ones. It saves passes of the head for the student's maps.
    """

    source = ("neck", "head")
    metric = "similarity.head"
    """1 - the sum of |p_s - p_t| over that of p_s + p_t, of the class scores, in [0, 1]."""

    def __init__(self, loss_weight: float = 1.0, box_weight: float = 1.0, images: float = 1.0):
        super().__init__(loss_weight, box_weight)
        if not 0 < images <= 1:
            raise ValueError(f"HeadLoss: images is above 0 and at most 1, got {images}: write 0.5 for half of them")
        self.images = images

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for a head of an unknown family."""
        reader_of(teacher.dense_head)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[tuple[Tensor, ...]], batch: Batch) -> Tensor:
        """Weighted loss, from the student's maps `(B, C, H, W)` and the head's outputs for the teacher's, by level."""
        head = batch.teacher.dense_head
        maps = self.connected([self._chosen(level) for level in student], len(batch.teacher_outputs))
        outputs = batch.teacher.head(maps)
        student_outputs = [outputs[pair.teacher.index] for pair in self.pairs]
        teacher_outputs = [[self._chosen(output) for output in level] for level in teacher]
        pairs = [LevelPair(pair.teacher, pair.teacher) for pair in self.pairs]  # both are outputs of the teacher's head
        return self.weighted(compare_levels(student_outputs, teacher_outputs, (head, head), pairs))

    def _chosen(self, output: Tensor) -> Tensor:
        """The compared images of an output `(B, ...)`."""
        count = math.ceil(self.images * len(output))
        if count == len(output):
            return output
        return output[torch.arange(count, device=output.device) * len(output) // count]

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        share = f" on {self.images:.0%} of the images" if self.images < 1 else ""
        return [f"the teacher's head{share}", *super().details(size)]


@MODELS.register_module()
class OwnHeadLoss(JointHeadLoss):
    """Compares the outputs of the student's head with those of the teacher's head; arguments as for `HeadLoss`.

    Both heads must have the same classes, anchors (or points) and box coder. The teacher's head runs only without
    gradient.
    """

    source = "head"
    same_channels = False
    metric = "similarity.own_head"

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for heads that differ in classes, anchors or box coder, or are of an unknown family."""
        if problem := difference_of_heads(dense_head(student), teacher.dense_head, self.pairs):
            raise ValueError(
                f"OwnHeadLoss compares the heads of student and teacher position by position, but {problem}: use "
                "pcka_mmdet.HeadLoss, which runs the teacher's head on the student's maps"
            )

    def forward(
        self, student: Sequence[tuple[Tensor, ...]], teacher: Sequence[tuple[Tensor, ...]], batch: Batch
    ) -> Tensor:
        """Weighted loss of the raw outputs of both heads, by level."""
        heads = dense_head(batch.student), batch.teacher.dense_head
        return self.weighted(compare_levels(student, teacher, heads, self.pairs))

    def details(self, size: Sequence[Sequence[int]]) -> list[str]:
        return ["the student's head"]


def compare_levels(
    student: Sequence[Sequence[Tensor]],
    teacher: Sequence[Sequence[Tensor]],
    heads: tuple[nn.Module, nn.Module],
    pairs: Sequence[LevelPair],
) -> list[Sums]:
    """Compare the raw outputs of the student's and the teacher's head at each pair of levels.

    A row or column that only one side has is left out: some necks round half of an odd side up (FPN), some down
    (HRFPN). Raises ValueError where outputs differ by more than 1 in height or width.
    """
    readers = reader_of(heads[0]), reader_of(heads[1])
    sums = []
    for *sides, pair in zip(student, teacher, pairs, strict=True):
        sizes = [tuple(outputs[0].shape[2:]) for outputs in sides]
        if any(abs(first - second) > 1 for first, second in zip(*sizes, strict=True)):
            raise UnreadableHead(
                f"at stride {pair.stride} the student's head gives outputs at {sizes[0]} positions, the teacher's at "
                f"{sizes[1]}. Outputs of heads are not resized"
            )
        height, width = map(min, *sizes)
        outputs = (
            reader.read([output[:, :, :height, :width] for output in side], level.own_stride)
            for reader, side, level in zip(readers, sides, pair, strict=True)
        )
        sums.append(compare(readers[1], *outputs))
    return sums


def compare(reader: HeadReader, student: HeadOutputs, teacher: HeadOutputs) -> Sums:
    """Compare the outputs of two heads of one family, position by position; `reader` is the teacher's.

    `weighted_sums` has the formulas, `HeadReader.box_difference` that of boxes. Box quality: binary cross-entropy,
    weighted as the boxes are. Objectness: binary cross-entropy, weighted by its absolute difference; the teacher's
    multiplies all other weights.
    """
    targets = teacher.logits.sigmoid()
    entropy, predicted = class_entropy(student.logits, targets)
    difference = reader.box_difference(student.boxes, teacher.boxes)
    if teacher.quality is None:
        return weighted_sums(entropy, predicted, targets, difference)
    quality = teacher.quality.sigmoid()
    of_quality, predicted_quality = class_entropy(student.quality, quality)
    if reader.quality != "objectness":
        return weighted_sums(entropy, predicted, targets, difference + of_quality)
    sums = weighted_sums(entropy, *(scores * quality[:, :, None] for scores in (predicted, targets)), difference)
    of_objects = (of_quality * (predicted_quality - quality).abs()).sum()
    return sums._replace(classes=sums.classes + of_objects / len(sums.classes))


def weighted_sums(entropy: Tensor, predicted: Tensor, targets: Tensor, difference: Tensor) -> Sums:
    """`Sums` by class, of class scores `(B, M, C, ...)` and of differences of boxes `(B, M, ...)`.

    Class scores: their binary cross-entropy to the teacher's scores t, weighted by |p_s - t|. Boxes: weighted by t^2,
    for each class. With t, half of the sum came from the background on BCCD (research/verdict/PROTOCOL.md): it is most
    of an image, and its boxes mean nothing.
    """
    differences, weights = (predicted - targets).abs(), targets.square()
    by_class = entropy * differences, difference.unsqueeze(2) * weights, weights
    others = [axis for axis in range(targets.dim()) if axis != 2]
    sums = (values.sum(others) for values in by_class)
    return Sums(*sums, differences.sum(), (predicted + targets).sum())


def class_factors(weights: Tensor) -> Tensor:
    """Factor of each class, from its sum of weights: the root of the mean over it.

    A rare class counts for more than its share, and for less than a frequent one. The mean is over the classes with a
    sum of 1 at least; others, which the teacher hardly sees in the batch, have a factor of 1.
    """
    seen = weights >= 1
    mean = (weights * seen).sum() / seen.sum().clamp(min=1)
    return torch.where(seen, (mean / weights.clamp(min=1)).sqrt(), torch.ones_like(weights))
