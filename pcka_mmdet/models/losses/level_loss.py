"""The base class of distillation losses, and the wrapper of foreign ones. A map is `(B, C, H, W)`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..detector_parts import dense_head
from ..heads import reader_of
from ..levels import Level
from ..queries import Queries
from ..sources import MAP_SOURCES, RoIOutputs
from ..teacher.teacher import Teacher

Maps = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class Batch:
    """Data of a step, for a loss that reads more than the outputs it compares."""

    samples: Sequence[BaseDataElement] | None
    """Data samples of the images: annotations and sizes."""
    image_size: tuple[int, int]
    """Height and width of the padded images, in pixels."""
    student: nn.Module
    """The student, after its forward of the batch."""
    teacher: Teacher
    """`teacher.head(maps)` runs its frozen head on any maps."""
    teacher_maps: Sequence[Tensor] | None = None
    """All maps of the teacher's neck, those of unpaired levels too; `None` if no loss needs the neck."""
    teacher_scores: Sequence[Tensor] | None = None
    """The teacher's scores at the positions of its levels, `(B, 1, H, W)` in [0, 1]; `None` if no loss reads them."""
    teacher_outputs: Sequence[tuple[Tensor, ...]] | None = None
    """Raw outputs of the teacher's dense head, or RPN, for these maps, by level; `None` if no loss reads them."""
    teacher_scale: int = 1
    """Side of the teacher's images over that of the student's."""
    stride: int | None = None
    """Stride of the level in pixels; `None` for a joint loss and for sources without strides."""


class LevelLoss(nn.Module):
    """Base of the losses that compare an output of the student with one of the teacher.

    The distiller builds one loss for each level, calls `prepare` when the model is built, and `forward` in each step.
    A subclass implements `level_loss`; if it reads no maps, all of `forward`.

    Args:
        loss_weight: Factor of the loss. For tuples, the losses of all levels are summed.
    """

    source: str | tuple[str, str] = "neck"
    """The source to read, of the table in `pcka_mmdet.models.sources`; a pair if student and teacher differ."""
    sources: tuple[str, ...] = MAP_SOURCES
    """Values that `source` may have in a config."""
    joint = False
    """Whether one loss reads all its levels at once: methods then get lists of levels, outputs and sizes."""
    same_channels: bool = True
    """Whether both sides need equal numbers of channels; where they differ, `prepare` builds a connector."""
    paired = True
    """Whether levels are compared in pairs. Else the loss reads all of the student's and the teacher's whole source."""
    needs_maps = False
    """Whether the loss refuses vectors, which a classifier's pooling neck gives."""
    reads_scores = False
    """Whether the loss reads `Batch.teacher_scores`."""
    general = 0
    """Number of general queries that a loss on `queries` compares beside the teacher's."""
    reads_larger_images = True
    """Whether the teacher's images may be larger than the student's (`teacher_scale`)."""
    metric: str | None = None
    """Name of `similarity` in the log; without "loss"."""

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight
        self.similarity: Tensor | None = None
        """Similarity of both sides in the last step, detached; a subclass that has a `metric` sets it."""
        self.connector: nn.Conv2d | None = None

    def prepare(self, student: Level, teacher: Level) -> None:
        """Build all parameters, before optimizer, DDP and EMA are set up: here the connector, a 1x1 convolution.

        Raises ValueError for vectors where the loss needs maps, and for vectors that differ in width.
        """
        if self.needs_maps and student.stride is None:
            raise ValueError(f"{type(self).__name__} compares maps, and the neck gives vectors: use source='backbone'")
        if self.needs_connector(student.channels, teacher.channels):
            if student.stride is None:
                raise ValueError(
                    f"{type(self).__name__} compares vectors of one width, and the student has {student.channels} "
                    f"classes or channels, the teacher {teacher.channels}: choose a teacher of the same classes, or "
                    "compare maps (source='backbone')"
                )
            self.connector = nn.Conv2d(student.channels, teacher.channels, kernel_size=1)

    def needs_connector(self, student_channels: int, teacher_channels: int) -> bool:
        """Whether the student's map needs a 1x1 convolution before the loss."""
        return self.same_channels and student_channels != teacher_channels

    def connected_queries(self, queries: Queries) -> Queries:
        """The teacher's queries as the student's decoder takes them, for a loss on `queries`."""
        return queries

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for a pair of models that the loss cannot use, before a training starts."""

    def forward(self, student: Maps, teacher: Maps, batch: Batch | None = None) -> Tensor:
        """Weighted loss as a scalar, from the maps of a level; without `batch`, also from tuples with a map a level.

        Raises ValueError where the sides differ in levels, images or channels, or no level of a tuple is large enough.
        """
        if isinstance(student, Tensor) and isinstance(teacher, Tensor):
            return self.level_loss(student if self.connector is None else self.connector(student), teacher, batch)
        if isinstance(student, Tensor) or isinstance(teacher, Tensor) or len(student) != len(teacher):
            raise ValueError(
                f"{type(self).__name__} compares two maps, or two tuples of as many levels; got {_shapes(student)} of "
                f"the student and {_shapes(teacher)} of the teacher: record the same number of levels on both sides"
            )
        problems = [self.problem(level.shape[2:]) for level in student]
        message = "; ".join(problem for problem in problems if problem)
        if all(problems):
            raise ValueError(f"{type(self).__name__}: no level is left: {message}")
        if message:
            warnings.warn(f"{type(self).__name__} leaves out levels: {message}", stacklevel=2)
        levels = zip(student, teacher, problems, strict=True)
        return sum(self(*pair, batch) for *pair, problem in levels if problem is None)

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None) -> Tensor:
        """Weighted loss of one pair of outputs; the student's has passed the connector."""
        raise NotImplementedError

    def align(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The teacher's map, detached, at the student's size. Raises ValueError where images or channels differ."""
        if student.shape[0] != teacher.shape[0] or (self.same_channels and student.shape[1] != teacher.shape[1]):
            raise ValueError(
                f"{type(self).__name__} got a student map of shape {tuple(student.shape)} and a teacher map of shape "
                f"{tuple(teacher.shape)}: images and channels must agree. For different channels use "
                "pcka_mmdet.FPNDistiller, which builds a 1x1 connector, or put a connector before the loss"
            )
        teacher = teacher.detach()
        if student.shape[2:] == teacher.shape[2:]:
            return teacher
        return F.interpolate(teacher, student.shape[2:], mode="bilinear", align_corners=False)

    @property
    def active(self) -> bool:
        """Whether the loss has any weight."""
        return self.loss_weight != 0

    def is_degenerate(self, size: Sequence[int]) -> bool:
        """Whether the loss is constant on outputs of height and width `size`."""
        return False

    def problem(self, size: Sequence[int]) -> str | None:
        """Why the loss `is_degenerate`, and what to change; `None` if it is not."""
        return f"a map of {'x'.join(map(str, size))} is too small" if self.is_degenerate(size) else None

    def metrics(self) -> dict[str, Tensor]:
        """Values of the last step to log, detached: here the similarity. No name holds "loss"."""
        return {} if self.metric is None or self.similarity is None else {self.metric: self.similarity}

    def note_cosine(self, student: Tensor, teacher: Tensor) -> None:
        """Set `similarity` to the cosine of both sides, each as one vector; to `None` where their shapes differ."""
        same = student.shape == teacher.shape
        self.similarity = F.cosine_similarity(student.detach().flatten(), teacher.flatten(), dim=0) if same else None

    def describe(self, size: Sequence[int]) -> str:
        """Its cell in the table of levels, for an output of height and width `size`; of a joint loss for a list."""
        words = [f"weight {self.loss_weight:g}", *self.details(size)]
        if self.is_degenerate(size):
            words.append("inactive: too small")
        if self.connector is not None:
            words.append(f"connector {self.connector.in_channels} -> {self.connector.out_channels}")
        return ", ".join(words)

    def details(self, size: Sequence[int]) -> list[str]:
        """Settings that `describe` names between weight and connector."""
        return []


def _shapes(maps: Maps) -> tuple | list[tuple]:
    return tuple(maps.shape) if isinstance(maps, Tensor) else [tuple(level.shape) for level in maps]


class ForeignLoss(LevelLoss):
    """Wraps a module that is called with the student's and the teacher's output, and keeps its weight.

    Of heads it compares the class logits, one row for each proposal (`roi_head`), or for each anchor at each position
    of a level (`head`).
    """

    sources = (*MAP_SOURCES, "logits", "head", "roi_head")
    metric = "similarity.outputs"
    """Cosine of what the loss compares, each side as one vector; none where their shapes differ."""

    def __init__(self, loss: nn.Module):
        super().__init__(getattr(loss, "loss_weight", 1.0))
        self.loss = loss

    def forward(self, student: Any, teacher: Any, batch: Batch | None = None) -> Tensor:
        """Weighted loss as a scalar. Raises ValueError for heads that differ in classes, anchors or positions."""
        if isinstance(student, Tensor):
            return super().forward(student, teacher, batch)
        if isinstance(student, RoIOutputs):
            rows = student.cls_score, teacher.cls_score
        else:
            readers = reader_of(dense_head(batch.student)), reader_of(batch.teacher.dense_head)
            logits = readers[0].class_logits(student), readers[1].class_logits(teacher)
            rows = tuple(side.movedim(2, -1).flatten(0, -2) for side in logits)
        if rows[0].shape != rows[1].shape:
            raise ValueError(
                f"{type(self.loss).__name__} compares class logits row by row, and the student's head gives "
                f"{tuple(rows[0].shape)} of them, the teacher's {tuple(rows[1].shape)}: both need the same classes and "
                "anchors. Use a loss on the neck maps"
            )
        return self.level_loss(*rows, batch)

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None) -> Tensor:
        teacher = teacher.detach()
        self.note_cosine(student, teacher)
        return self.loss(student.contiguous(), teacher.contiguous())  # some of MMRazor's take views of them
