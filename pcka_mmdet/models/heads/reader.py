"""The interface of readers of dense heads, and the lookup of a head's reader.

Shape shorthand: B images, A anchors (or 1 point) per position, C classes, K values of a box code, H x W positions.
A level's raw outputs are class logits `(B, A C, H, W)`, box codes `(B, A K, H, W)` and, in some heads, logits of box
quality `(B, A, H, W)`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..detector_parts import UnreadableHead
from ..levels import Level, LevelPair
from . import boxes
from .slots import Slots, first_priors, flat, priors_of_level

READERS: dict[str, type["HeadReader"] | None] = {}
"""Readers by class name of the head; `None` for heads that are refused."""


class HeadOutputs(NamedTuple):
    """Class logits `(B, A, C, H, W)`, boxes `(B, A, K, H, W)` (K = 4 for corners), quality logits `(B, A, H, W)`."""

    logits: Tensor
    boxes: Tensor
    quality: Tensor | None


def class_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of class logits to targets in [0, 1], by element, and the scores, detached."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none"), logits.detach().sigmoid()


class HeadReader:
    """Reads the raw outputs of one family of dense heads.

    A new family is a subclass in `families.py`, with the heads' names in `reads`. It implements `compared_boxes`, and
    overrides what differs from the defaults here. `family` is the name that the reader was looked up by.
    """

    quality: str | None = None
    """Kind of the quality output: "centerness", "overlap", "objectness" (class scores are then conditional on an
    object) or `None`."""
    box_output = 1
    """Index of the box codes among the outputs. Class logits are at 0, quality at 2."""
    gradients_of_one_scale = True
    """Whether class and box gradients are close enough in scale for one norm over both.

    A guess: with `both-heads` at a ratio of 1, the distillation's gradient at the backbone was 4 to 10 times the task's
    for tiny pairs of RTMDet and YOLOX (40 steps), 2 to 4 times for RetinaNet and FCOS.
    """

    assigns = False
    """Whether the rule of the student's own training is known, see `assign`."""

    def __init__(self, head: nn.Module, family: str):
        self.head = head
        self.family = family

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the head's kinds of outputs, in their order."""
        return ("class", "box") if self.quality is None else ("class", "box", self.quality)

    def class_logits(self, outputs: Sequence[Tensor]) -> Tensor:
        """Class logits `(B, A, C, H, W)` from raw outputs of a level."""
        return outputs[0].unflatten(1, (-1, self.head.cls_out_channels))

    def read(self, outputs: Sequence[Tensor], stride: int) -> HeadOutputs:
        """Raw outputs of a level of that stride as a loss compares them."""
        logits = self.class_logits(outputs)
        codes = outputs[self.box_output].unflatten(1, (logits.shape[1], -1))
        quality = None if self.quality is None else outputs[2]
        return HeadOutputs(logits, self.compared_boxes(codes, stride), quality)

    def compared_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)` relative to the point, in units of the stride, at most e^`boxes.MOST_LOG_SIZE`,
        from box codes `(B, A, K, H, W)`."""
        raise NotImplementedError

    def box_difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Difference `(B, A, H, W)` of two sides' `HeadOutputs.boxes`; here 2 (1 - GIoU)."""
        return boxes.difference(student.movedim(2, -1), teacher.movedim(2, -1))

    def slots(self, outputs: Sequence[Sequence[Tensor]], levels: Sequence[Level]) -> Slots:
        """The predictions at all anchors or points, from raw outputs by level."""
        read = [
            self.read(level_outputs, level.own_stride) for level_outputs, level in zip(outputs, levels, strict=True)
        ]
        priors = [
            priors_of_level(self.head, level, one.logits.shape[-2:], one.logits)
            for level, one in zip(levels, read, strict=True)
        ]
        counts = [len(of_level) for of_level in priors]
        strides = torch.cat([p.new_full((len(p),), level.own_stride) for p, level in zip(priors, levels, strict=True)])
        corners = flat([self.corners(one.boxes) for one in read])
        logits, all_priors = flat([one.logits for one in read]), torch.cat(priors)
        quality = None if self.quality is None else flat([one.quality.unsqueeze(2) for one in read])[..., 0]
        indices = [level.index for level in levels]
        return Slots(logits, self.placed(corners, all_priors, strides), quality, all_priors, strides, counts, indices)

    def in_images(
        self, outputs: Sequence[Sequence[Tensor]], levels: Sequence[Level], sizes: Sequence[tuple[int, int]]
    ) -> Tensor | None:
        """Slots `(B, M)` within images of these heights and widths, the others being padding. `None`: all count.

        As MMDetection's `valid_flags`. Heads of points train on padding too.
        """
        if not hasattr(self.head, "get_anchors"):
            return None
        of_images = []
        for size in sizes:
            of_levels = []
            for (logits, *_), level in zip(outputs, levels, strict=True):
                rows, columns = (
                    torch.arange(count, device=logits.device) * level.own_stride < side
                    for count, side in zip(logits.shape[-2:], size, strict=True)
                )
                anchors = logits.shape[1] // self.head.cls_out_channels
                of_levels.append((rows[:, None] & columns).flatten()[:, None].expand(-1, anchors).flatten())
            of_images.append(torch.cat(of_levels))
        return torch.stack(of_images)

    def corners(self, compared: Tensor) -> Tensor:
        """Corners `(B, A, 4, H, W)` relative to the point, in units of the stride, from `HeadOutputs.boxes`."""
        return compared

    def placed(self, corners: Tensor, priors: Tensor, strides: Tensor) -> Tensor:
        """Boxes `(B, M, 4)` in pixels, from corners `(B, M, 4)` relative to the centres of the priors `(M, 4)`."""
        centre = (priors[:, :2] + priors[:, 2:]) / 2
        return corners * strides[:, None] + torch.cat([centre, centre], 1)

    def scores(self, slots: Slots) -> Tensor:
        """Class scores `(B, M, C)` by which a detector ranks its boxes: with their quality, where it is scored."""
        scores = slots.logits.sigmoid()
        return scores if slots.quality is None else scores * slots.quality.sigmoid()[..., None]

    def class_entropy(self, slots: Slots, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy `(B, M, C)` of the class scores to targets in [0, 1], and these scores, detached."""
        return class_entropy(slots.logits, targets)

    def assign(self, slots: Slots, image: int, found: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The box that each slot of an image is to predict by the rule of the student's own training.

        Args:
            slots: The student's predictions, detached.
            image: Index of the image.
            found: Boxes `(N, 4)`.
            scores: Their class scores `(N, C)`; boxes with 0 do not count, and to some assigners unsure ones neither.

        Returns:
            Index of the box `(M,)`, and how far the slot is to predict it, in [0, 1] `(M,)`: 0 for the background.
        """
        raise NotImplementedError

    def boxes_compare_with(self, reader: "HeadReader") -> bool:
        """Whether boxes at the same anchors or points can be compared: here, if one method reads both."""
        return type(self).compared_boxes is type(reader).compared_boxes


def reads(*heads: str, refuses: Sequence[str] = ()) -> Callable[[type[HeadReader]], type[HeadReader]]:
    """Register a reader for heads of these class names, and for classes derived from them except `refuses`."""

    def register(reader: type[HeadReader]) -> type[HeadReader]:
        READERS.update(dict.fromkeys(refuses), **dict.fromkeys(heads, reader))
        return reader

    return register


def reader_of(head: nn.Module) -> HeadReader:
    """The reader of a head's family.

    Raises:
        UnreadableHead: The family is unknown, class scores have no sigmoid, or boxes are coded as by MMDetection 1.
    """
    name = type(head).__name__
    family = next((base.__name__ for base in type(head).__mro__ if base.__name__ in READERS), None)
    reader = READERS.get(family)
    if reader is None:
        known = sorted(name for name, reader in READERS.items() if reader)
        raise UnreadableHead(
            f"the outputs of {name} are not known, only those of {known} and of heads derived from them"
        )
    if not getattr(head, "use_sigmoid_cls", True):
        raise UnreadableHead(f"class scores must be by a sigmoid, and this {name} has a softmax")
    coder = type(getattr(head, "bbox_coder", None)).__name__
    if coder == "LegacyDeltaXYWHBBoxCoder":  # its boxes depend on the anchor's size in pixels
        raise UnreadableHead(f"the boxes of this {name} are coded as by MMDetection 1 ({coder})")
    return reader(head, family)


def difference_of_heads(student: nn.Module, teacher: nn.Module, pairs: Sequence[LevelPair]) -> str | None:
    """Why the outputs of two heads cannot be compared position by position; `None` if they can. See `reader_of`."""
    readers = reader_of(student), reader_of(teacher)
    families, qualities = zip(*((reader.family, reader.quality) for reader in readers), strict=True)
    if not readers[0].boxes_compare_with(readers[1]):
        return f"their heads code boxes in different ways ({type(student).__name__} and {type(teacher).__name__})"
    if all(qualities) and len(set(qualities)) == 2:
        (one, first), (two, second) = sorted(zip(qualities, families, strict=True))
        return f"one of their heads scores {one}, the other {two} ({first} and {second})"
    if student.cls_out_channels != teacher.cls_out_channels:
        return f"their heads score {student.cls_out_channels} and {teacher.cls_out_channels} classes"
    if qualities[1] and not qualities[0]:
        return f"only the teacher's head scores the quality of boxes ({' and '.join(families)})"
    for pair in pairs:
        heads = zip((student, teacher), pair, strict=True)
        priors = [first_priors(head, level.index) / level.scale for head, level in heads]
        if priors[0].shape != priors[1].shape or not torch.isclose(*priors).all():
            return "their heads have different anchors"
    return None
