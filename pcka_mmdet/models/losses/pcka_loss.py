"""Patch-based centred kernel alignment, and the maximum mean discrepancy of patches, its ablation."""

from collections.abc import Sequence

from torch import Tensor

from pcka_mmdet.functional import mmd, patch_cka
from pcka_mmdet.functional.cka import min_samples
from pcka_mmdet.functional.mmd import KERNELS
from pcka_mmdet.registry import MODELS

from .level_loss import Batch
from .patch_loss import PatchLoss


@MODELS.register_module()
class PCKALoss(PatchLoss):
    """1 - CKA between the patches of the student's map and those of the teacher's (PCKA, sec. 4.2 of the paper).

    `loss_weight * (1 - mean CKA(X, Y)) + position_weight * (1 - mean CKA(X', Y'))`, where X and Y hold one patch a row
    and the mean is taken over groups (see `pcka_mmdet.functional.patches`).

    Args:
        loss_weight: Weight of the term over patches.
        patch_size: See `PatchLoss`. `position_weight` needs a number.
        average: See `PatchLoss`. `position_weight` needs equal numbers of channels too.
        centering: `'none'` (the paper's released form), `'center'` or `'debias'`; see `pcka_mmdet.functional.cka`.
        position_weight: Weight of the term whose Gram matrices compare the features of a patch in place of patches
            (the released code's "inter" term). 0 leaves it out.
        fit: See `PatchLoss`.
    """

    metric = "similarity.pcka"
    """Mean CKA over patches of the last pair of maps."""

    def __init__(
        self,
        loss_weight: float = 10.0,
        patch_size: int | str = 16,
        average: str = "channel",
        centering: str = "center",
        position_weight: float = 0.0,
        fit: str = "resize",
    ):
        super().__init__(loss_weight, patch_size, average, fit)
        self.min_patches, self.requirement = min_samples(centering), f"centering={centering!r}"
        if patch_size == "auto" and position_weight:
            raise ValueError("PCKALoss: position_weight needs patches of a given size: write a number for patch_size")
        if position_weight and average == "channel" and patch_size**2 < self.min_patches:
            raise ValueError(
                f"PCKALoss: position_weight compares the positions within a patch; patch_size={patch_size} has "
                f"{patch_size**2}, and {self.requirement} needs {self.min_patches}: use larger patches, or "
                "position_weight=0"
            )
        self.centering, self.position_weight = centering, position_weight
        self.same_channels = self.same_channels or position_weight != 0

    @property
    def active(self) -> bool:
        return self.loss_weight != 0 or self.position_weight != 0

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        teacher = self.align(student, teacher)
        weights = {"patches": self.loss_weight}
        if self.position_weight:
            weights["positions"] = self.position_weight
        options = self.patch_side(*student.shape[2:]), self.average, self.centering, self.fit
        similarities = patch_cka(student, teacher, *options, samples=tuple(weights))
        self.similarity = similarities[0].detach()
        return sum(weight * (1 - value) for weight, value in zip(weights.values(), similarities, strict=True))

    def details(self, size: Sequence[int]) -> list[str]:
        positions = [f"positions {self.position_weight:g}"] if self.position_weight else []
        return [*positions, *super().details(size)]


@MODELS.register_module()
class MMDLoss(PatchLoss):
    """Squared maximum mean discrepancy between the patches of both maps, the mean over groups of patches.

    Args:
        loss_weight: Factor of the loss. The linear form is at most 1 / N^2 for N patches, so its weight is large, or
            its gradient is balanced.
        kernel: `'linear'` or `'rbf'`; see `pcka_mmdet.functional.mmd`. `'rbf'` needs equal numbers of channels.
        patch_size: See `PatchLoss`.
        average: See `PatchLoss`.
        fit: See `PatchLoss`.
    """

    metric = "similarity.mmd_cosine"
    """Cosine of the patches of both maps, each side as one vector; none where they differ in channels."""

    def __init__(
        self,
        loss_weight: float = 1.0,
        kernel: str = "linear",
        patch_size: int | str = 16,
        average: str = "channel",
        fit: str = "resize",
    ):
        super().__init__(loss_weight, patch_size, average, fit)
        if kernel not in KERNELS:
            raise ValueError(f"MMDLoss: kernel must be one of {KERNELS}, got {kernel!r}")
        self.kernel = kernel
        self.same_channels = self.same_channels or kernel == "rbf"

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        patches = self.cut(student, teacher)
        self.note_cosine(*patches)
        return self.loss_weight * mmd(*patches, self.kernel).mean()
