"""Patch-based centred kernel alignment."""

import math
from collections.abc import Sequence

from torch import Tensor

from pcka_mmdet.functional import patch_cka
from pcka_mmdet.functional.cka_forms import CENTERINGS, MIN_SAMPLES
from pcka_mmdet.functional.patches import AVERAGES, patch_grid
from pcka_mmdet.registry import MODELS

from ..sources import MAP_SOURCES
from .level_loss import Batch, LevelLoss

AUTO_PATCHES = 64
"""Patches that `patch_size='auto'` aims at: on COCO's 800x1344 pixels it gives sides of 16, 8, 4 and 2."""


@MODELS.register_module()
class PCKALoss(LevelLoss):
    """1 - CKA between the patches of the student's map and those of the teacher's (PCKA, sec. 4.2 of the paper).

    `loss_weight * (1 - mean CKA(X, Y)) + position_weight * (1 - mean CKA(X', Y'))`, where X and Y hold one patch a row
    and the mean is taken over groups (see `pcka_mmdet.functional.patches`).

    Args:
        loss_weight: Weight of the term over patches.
        patch_size: Side of a patch, in positions of the map. `'auto'` chooses it for each map so that there are about
            64 patches, whatever the level and the image size.
        average: `'channel'`, `'batch'` or `'spatial'`: what the mean is taken over. `'channel'` compares channel i with
            channel i. It and `position_weight` need equal numbers of channels.
        centering: `'none'` (the paper's released form), `'center'` or `'debias'`; see `pcka_mmdet.functional.cka`.
        position_weight: Weight of the term whose Gram matrices compare the features of a patch in place of patches
            (the released code's "inter" term). 0 leaves it out.
        fit: `'resize'`, `'pad'` or `'crop'`: how a map is made to hold whole patches.

    Raises:
        ValueError: An option is unknown.
    """

    sources = MAP_SOURCES

    def __init__(
        self,
        loss_weight: float = 10.0,
        patch_size: int | str = 16,
        average: str = "channel",
        centering: str = "center",
        position_weight: float = 0.0,
        fit: str = "resize",
    ):
        super().__init__(loss_weight)
        for name, value, known in (("average", average, AVERAGES), ("centering", centering, CENTERINGS)):
            if value not in known:
                raise ValueError(f"PCKALoss: {name} must be one of {known}, got {value!r}")
        automatic = patch_size == "auto"
        if not isinstance(patch_size, int) and not automatic:
            raise ValueError(
                f"PCKALoss: patch_size is by stride, such as {{8: 2}}, one number or 'auto'; got {patch_size}"
            )
        patch_grid(1, 1, 1 if automatic else patch_size, fit)  # refuses bad values
        if automatic and position_weight:
            raise ValueError("PCKALoss: position_weight needs patches of a given size: write a number for patch_size")
        if position_weight and average == "channel" and patch_size**2 < MIN_SAMPLES[centering]:
            raise ValueError(
                f"PCKALoss: position_weight compares the positions within a patch; patch_size={patch_size} has "
                f"{patch_size**2}, and centering={centering!r} needs {MIN_SAMPLES[centering]}: use larger patches, or "
                "position_weight=0"
            )
        self.patch_size = patch_size
        self.average = average
        self.centering = centering
        self.position_weight = position_weight
        self.fit = fit
        self.similarity: Tensor | None = None
        """Mean CKA over patches of the last pair of maps, detached."""

    def patch_side(self, height: int, width: int) -> int:
        """Side of the patches of a map of this size."""
        if self.patch_size != "auto":
            return self.patch_size
        return max(1, round(math.sqrt(height * width / AUTO_PATCHES)))

    def num_patches(self, height: int, width: int) -> int:
        """Patches N that a map of this size gives."""
        rows, columns = patch_grid(height, width, self.patch_side(height, width), self.fit)
        return rows * columns

    @property
    def active(self) -> bool:
        """Whether either term has any weight."""
        return self.loss_weight != 0 or self.position_weight != 0

    def is_degenerate(self, size: Sequence[int]) -> bool:
        """Whether the map gives fewer patches than the estimator needs."""
        return self.num_patches(*size) < MIN_SAMPLES[self.centering]

    def needs_connector(self, student_channels: int, teacher_channels: int) -> bool:
        """Only `average='channel'` and the term over positions need equal numbers of channels."""
        return self._same_channels and student_channels != teacher_channels

    @property
    def _same_channels(self) -> bool:
        return self.average == "channel" or self.position_weight != 0

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        """Weighted loss of one pair of maps, in float32 or wider."""
        teacher = self.align(student, teacher, same_channels=self._same_channels)
        if self.is_degenerate(student.shape[2:]):
            raise ValueError(f"PCKALoss: {self.degenerate_message(student.shape[2:])}")
        weights = {"patches": self.loss_weight}
        if self.position_weight:
            weights["positions"] = self.position_weight
        options = self.patch_side(*student.shape[2:]), self.average, self.centering, self.fit
        similarities = patch_cka(student, teacher, *options, samples=tuple(weights))
        self.similarity = similarities[0].detach()
        return sum(weight * (1 - value) for weight, value in zip(weights.values(), similarities, strict=True))

    def metrics(self) -> dict[str, Tensor]:
        """Mean CKA over patches of the last pair of maps."""
        return {} if self.similarity is None else {"similarity.cka": self.similarity}

    def details(self, size: Sequence[int]) -> list[str]:
        """Weight of the term over positions, and number of patches."""
        positions = [f"positions {self.position_weight:g}"] if self.position_weight else []
        return [*positions, f"{self.num_patches(*size)} patches of {self.patch_side(*size)}"]

    def degenerate_message(self, size: Sequence[int]) -> str:
        """Why `is_degenerate` says so, and what to write instead."""
        height, width = size
        count, side = self.num_patches(height, width), self.patch_side(height, width)
        return (
            f"a map of {height}x{width} has {count} patches of side {side}, "
            f"and centering={self.centering!r} needs {MIN_SAMPLES[self.centering]}: use a smaller patch_size"
        )
