"""The base class of losses on the patches of maps."""

import math
from collections.abc import Sequence

from torch import Tensor

from pcka_mmdet.functional import extract_patches
from pcka_mmdet.functional.patches import AVERAGES, patch_grid

from .level_loss import LevelLoss

AUTO_PATCHES = 64
"""Patches that `patch_size='auto'` aims at: on COCO's 800x1344 pixels it gives sides of 16, 8, 4 and 2."""


class PatchLoss(LevelLoss):
    """Base of losses on patches: how maps are cut, and which maps have too few patches.

    Args:
        loss_weight: Factor of the loss.
        patch_size: Side of a patch, in positions of the map. `'auto'` chooses it for each map so that there are about
            64 patches, whatever the level and the image size.
        average: `'channel'`, `'batch'` or `'spatial'`: what the mean over groups of patches averages, see
            `pcka_mmdet.functional.patches`. `'channel'` compares channel i with channel i, so both sides need equal
            numbers of channels.
        fit: `'resize'`, `'pad'` or `'crop'`: how a map is made to hold whole patches.

    Raises:
        ValueError: An option is unknown.
    """

    needs_maps = True
    min_patches = 2
    """Patches below which the loss is constant or undefined."""

    def __init__(self, loss_weight: float, patch_size: int | str, average: str, fit: str):
        super().__init__(loss_weight)
        name = type(self).__name__
        if average not in AVERAGES:
            raise ValueError(f"{name}: average must be one of {AVERAGES}, got {average!r}")
        if not isinstance(patch_size, int) and patch_size != "auto":
            raise ValueError(
                f"{name}: patch_size is a number or 'auto', or a number for each stride in an FPNDistiller ({{8: 2}}); "
                f"got {patch_size}"
            )
        patch_grid(1, 1, 1 if patch_size == "auto" else patch_size, fit)  # refuses bad values
        self.patch_size, self.average, self.fit = patch_size, average, fit
        self.same_channels = average == "channel"
        self.requirement = name
        """What needs `min_patches`, for messages."""

    def patch_side(self, height: int, width: int) -> int:
        """Side of the patches of a map of this size."""
        if self.patch_size != "auto":
            return self.patch_size
        return max(1, round(math.sqrt(height * width / AUTO_PATCHES)))

    def num_patches(self, height: int, width: int) -> int:
        """Patches N that a map of this size gives."""
        rows, columns = patch_grid(height, width, self.patch_side(height, width), self.fit)
        return rows * columns

    def align(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `LevelLoss.align`; also raises ValueError where the map has too few patches."""
        teacher = super().align(student, teacher)
        if problem := self.problem(student.shape[2:]):
            raise ValueError(f"{type(self).__name__}: {problem}")
        return teacher

    def cut(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Patch matrices `(G, N, D)` of both maps. Raises what `align` raises."""
        options = self.patch_side(*student.shape[2:]), self.average, self.fit
        teacher = self.align(student, teacher)
        return extract_patches(student, *options), extract_patches(teacher, *options)

    def is_degenerate(self, size: Sequence[int]) -> bool:
        return self.num_patches(*size) < self.min_patches

    def degenerate_message(self, size: Sequence[int]) -> str:
        height, width = size
        enough = self.patch_side(*size) > 1 and height * width >= self.min_patches
        advice = "use a smaller patch_size" if enough else "leave the level out (strides=...), or use larger images"
        cut = f"{self._patches(size)} of side {self.patch_side(*size)}"
        return f"a map of {height}x{width} has {cut}, and {self.requirement} needs {self.min_patches}: {advice}"

    def details(self, size: Sequence[int]) -> list[str]:
        return [f"{self._patches(size)} of {self.patch_side(*size)}"]

    def _patches(self, size: Sequence[int]) -> str:
        count = self.num_patches(*size)
        return "1 patch" if count == 1 else f"{count} patches"
