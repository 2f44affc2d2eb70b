"""Regression of the teacher's map: mimicking, and generation from the student's masked map."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcka_mmdet.registry import MODELS

from ..levels import Level
from ..outputs import in_float32
from ..teacher.predictions import problem_of_scores
from ..teacher.teacher import Teacher
from ..training_state import step_generator
from .level_loss import Batch, LevelLoss


@MODELS.register_module()
class MimicLoss(LevelLoss):
    """Mean squared error between the teacher's map and the student's after a 1x1 convolution (Huang et al. 2022, DIST).

    Only `FPNDistiller` calls `prepare`, which builds the convolution at every level, whatever the channels.

    Args:
        loss_weight: Weight of the mean over all elements of a map.
        by_scores: Weight each position by the teacher's score there, the highest over classes and anchors, or of the
            boxes of a DETR that contain it. A map of the backbone has the scores of the level of the nearest size.
    """

    needs_maps = True
    metric = "similarity.mimic"
    """Cosine of the connected map and the teacher's, each as one vector."""

    def __init__(self, loss_weight: float = 1.0, by_scores: bool = False):
        super().__init__(loss_weight)
        self.reads_scores = by_scores

    def prepare(self, student: Level, teacher: Level) -> None:
        super().prepare(student, teacher)
        self.teacher_level = teacher.index

    def check_models(self, student: nn.Module, teacher: Teacher) -> None:
        """Raise ValueError for a teacher whose scores are wanted and not known."""
        if self.reads_scores and (problem := problem_of_scores(teacher.detector)):
            raise ValueError(f"MimicLoss: {problem}: leave by_scores out")

    def needs_connector(self, student_channels: int, teacher_channels: int) -> bool:
        """Always: the convolution leaves the student free to keep its features."""
        return True

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        width = teacher.shape[-1]
        student, teacher = in_float32((student, self.align(student, teacher)))
        self.note_cosine(student, teacher)
        if not self.reads_scores:
            return self.loss_weight * F.mse_loss(student, teacher)
        scores = self._of_level(batch.teacher_scores, width)[: len(student)]  # a DETR's encoder: of labelled images
        if scores.shape[2:] != student.shape[2:]:
            scores = F.interpolate(scores, student.shape[2:], mode="bilinear", align_corners=False)
        error = (student - teacher).square().mean(1, keepdim=True)
        return self.loss_weight * (error * scores).sum() / scores.sum().clamp(min=1e-6)

    def _of_level(self, scores: Sequence[Tensor], width: int) -> Tensor:
        """The scores of the head's level that is nearest to the map's in size, and of equal ones to its index."""
        index = self.teacher_level
        return min(enumerate(scores), key=lambda one: (abs(one[1].shape[-1] - width), abs(one[0] - index)))[1]

    def details(self, size: tuple[int, int]) -> list[str]:
        return ["by the teacher's scores"] if self.reads_scores else []


@MODELS.register_module()
class MaskedGenerationLoss(LevelLoss):
    """Squared error between the teacher's map and the one generated from the student's masked map (MGD).

    Some positions of the student's map are set to zero. The generator, two 3x3 convolutions, predicts the teacher's
    whole map from the rest (Yang et al. 2022, "Masked Generative Distillation", eq. 2 to 4). `step_generator` draws the
    masks. Only `FPNDistiller` calls `prepare`, which builds the generator.

    Args:
        loss_weight: Factor of the squared error, which is summed over channels and positions and divided by the images.
        mask_ratio: Share of the positions that are set to zero, within [0, 1).
    """

    needs_maps = True
    metric = "similarity.generation"
    """Cosine of the generated map and the teacher's, each as one vector."""

    def __init__(self, loss_weight: float = 2e-5, mask_ratio: float = 0.65):
        super().__init__(loss_weight)
        if not 0 <= mask_ratio < 1:
            raise ValueError(f"MaskedGenerationLoss: mask_ratio is at least 0 and below 1, got {mask_ratio}")
        self.mask_ratio = mask_ratio
        self._calls = 0
        """Masks drawn so far, which stand for the iteration in a program without MMEngine's runner."""

    def prepare(self, student: Level, teacher: Level) -> None:
        super().prepare(student, teacher)
        self.stride = student.stride
        channels = teacher.channels
        self.generator = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        teacher = self.align(student, teacher)
        generated = self.generator(student * self.mask(student))
        self.note_cosine(generated, teacher)
        return self.loss_weight * F.mse_loss(generated, teacher, reduction="sum") / len(student)

    def mask(self, student: Tensor) -> Tensor:
        """A new random mask `(B, 1, H, W)` for each iteration: 1 where a position is kept and 0 elsewhere."""
        source = step_generator(student.device, self.stride, default=self._calls)
        self._calls += 1
        drawn = torch.rand(len(student), 1, *student.shape[2:], generator=source, device=student.device)
        return (drawn >= self.mask_ratio).to(student)

    def details(self, size: tuple[int, int]) -> list[str]:
        return [f"{self.mask_ratio:.0%} masked"]
