"""Centred kernel alignment over the samples of a batch, of one process or gathered from all."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor
from torch.distributed import ProcessGroup, get_backend, group, is_gloo_available, new_group

from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.functional import cka
from pcka_mmdet.functional.cka import min_samples
from pcka_mmdet.registry import MODELS

from ..levels import Level
from ..outputs import zero_of
from ..sources import MAP_SOURCES, RoIOutputs
from .level_loss import Batch, LevelLoss


@MODELS.register_module()
class RCKALoss(LevelLoss):
    """1 - CKA between the student's and the teacher's representation of the samples of a batch (RCKA, the paper's 4.1).

    `loss_weight * (1 - CKA(X, Y)) + class_weight * (1 - CKA(X', Y'))`, where X and Y hold one sample a row: a
    classifier's logits, an image's map as one vector, or the class logits of a proposal, if the teacher's most probable
    class is not the background. With fewer samples than the centering needs the loss is 0.

    Args:
        loss_weight: Weight of the term over samples.
        centering: `'none'`, `'center'` or `'debias'`; see `pcka_mmdet.functional.cka`.
        class_weight: Weight of the term over classes, whose Gram matrices compare the columns of the logits.
        gather: Compare the samples of all processes. A Gram matrix of 2 samples says nothing, one of 32 does.
        grid: Average maps to `grid` x `grid` cells first. `gather` needs it where the images of a step are padded to
            different sizes in the processes.
    """

    source = "logits"
    sources = ("logits", *MAP_SOURCES, "roi_head")
    metric = "similarity.rcka"
    """CKA over the samples of the last batch."""

    def __init__(
        self,
        loss_weight: float = 1.0,
        centering: str = "center",
        class_weight: float = 0.0,
        gather: bool = False,
        grid: int | None = None,
    ):
        super().__init__(loss_weight)
        if grid is not None and grid < 1:
            raise ValueError(f"RCKALoss: grid is a number of cells, got {grid}: write 8, or None for whole maps")
        self.min_samples = min_samples(centering)
        self.centering, self.class_weight = centering, class_weight
        self.gather, self.grid = gather, grid
        self.same_channels = class_weight != 0  # Gram matrices of samples compare any widths
        self._warned = False

    @property
    def active(self) -> bool:
        return self.loss_weight != 0 or self.class_weight != 0

    def prepare(self, student: Level, teacher: Level) -> None:
        """Also raises ValueError for a term over classes where outputs are maps, or have too few classes."""
        if self.class_weight and student.stride is not None:
            raise ValueError("RCKALoss: class_weight compares classes, and a map has none: use source='logits'")
        if student.channels is not None:  # the classes of a RoI head are known with its outputs
            self._check_classes(student.channels)
        super().prepare(student, teacher)

    def _check_classes(self, count: int) -> None:
        if self.class_weight and count < self.min_samples:
            raise ValueError(
                f"RCKALoss: class_weight compares classes, and centering={self.centering!r} needs "
                f"{self.min_samples} of them; there are {count}: use class_weight=0"
            )

    def forward(self, student: Tensor | RoIOutputs, teacher: Tensor | RoIOutputs, batch: Batch | None = None) -> Tensor:
        """Weighted loss as a scalar, from logits `(B, K)`, maps `(B, C, H, W)`, tuples of maps, or RoI outputs."""
        if isinstance(student, RoIOutputs):
            objects = teacher.cls_score.argmax(1) < teacher.cls_score.shape[1] - 1
            return self.level_loss(student.cls_score[objects], teacher.cls_score[objects], batch)
        return super().forward(student, teacher, batch)

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        """Raises ValueError where the sides differ in samples or, with `class_weight`, in classes or have too few."""
        x, y = student, teacher.detach()
        if self.grid and x.dim() == 4:
            x, y = (F.adaptive_avg_pool2d(maps, self.grid) for maps in (x, y))
        if len(x) != len(y) or (self.class_weight and x.shape[1:].numel() != y.shape[1:].numel()):
            raise ValueError(
                f"RCKALoss got {tuple(student.shape)} of the student and {tuple(teacher.shape)} of the teacher: the "
                f"samples{' and classes' if self.class_weight else ''} must agree"
            )
        self._check_classes(x.shape[1:].numel())
        if self.gather:
            x, y = gathered(x), gathered(y)
        x, y = x.flatten(1), y.flatten(1)
        if len(x) < self.min_samples:
            self.similarity = None
            self._warn_once(len(x))
            return zero_of([student], student)
        similarity = cka(x, y, self.centering)
        self.similarity = similarity.detach()
        loss = self.loss_weight * (1 - similarity)
        if self.class_weight:
            loss = loss + self.class_weight * (1 - cka(x.T, y.T, self.centering))
        return loss

    def _warn_once(self, samples: int) -> None:
        where, more = (" of all processes", "") if self.gather else ("", " or, with several processes, gather=True")
        message = (
            f"RCKALoss: a batch{where} has {samples} samples, and centering={self.centering!r} needs "
            f"{self.min_samples}: its loss is 0. Use larger batches{more}"
        )
        if not self._warned:
            warn(message)
        self._warned = True

    def details(self, size: Sequence[int]) -> list[str]:
        classes = [f"classes {self.class_weight:g}"] if self.class_weight else []
        cells = [f"{self.grid}x{self.grid} cells"] if self.grid and len(size) == 2 else []
        return [*classes, *cells, *(["samples of all processes"] if self.gather else [])]


def gathered(rows: Tensor) -> Tensor:
    """Rows `(N, ...)` of all processes, in the order of their ranks; N may differ. Every process must call it.

    Gradients reach the rows of this process, times the number of processes: DDP takes the mean of all gradients, which
    is then the gradient of one process with the whole batch. Every process raises ValueError where the shapes of a row
    differ.
    """
    processes = get_world_size()
    if processes == 1:
        return rows
    shapes = [shape.tolist() for shape in all_gather(torch.tensor(rows.shape), _host_group(group.WORLD))]
    counts, sizes = [shape[0] for shape in shapes], [shape[1:] for shape in shapes]
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"gather=True: the samples of the processes have the shapes {sizes}, since their images are padded to "
            "different sizes: use grid=8, images of one size, source='logits', or gather=False"
        )
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [part[:count] for part, count in zip(all_gather(padded), counts, strict=True)]
    with_gradient = rows.view_as(rows)
    if with_gradient.requires_grad:
        with_gradient.register_hook(lambda gradient: gradient * processes)
    parts[get_rank()] = with_gradient
    return torch.cat(parts)


@lru_cache(maxsize=1)
def _host_group(world: ProcessGroup) -> ProcessGroup:
    """A group of all processes whose hosts exchange numbers without waiting for their GPUs."""
    return new_group(backend="gloo") if is_gloo_available() and get_backend(world) != "gloo" else world
