"""Patch-based centred kernel alignment."""

from collections.abc import Sequence

from torch import Tensor

from pcka_mmdet.functional import patch_cka
from pcka_mmdet.functional.cka_forms import CENTERINGS, MIN_SAMPLES
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
        patch_size: See `PatchLoss`.
        average: See `PatchLoss`. `position_weight` needs equal numbers of channels too.
        centering: `'none'` (the paper's released form), `'center'` or `'debias'`; see `pcka_mmdet.functional.cka`.
        position_weight: Weight of the term whose Gram matrices compare the features of a patch in place of patches
            (the released code's "inter" term). 0 leaves it out.
        fit: See `PatchLoss`.

    Raises:
        ValueError: An option is unknown.
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
        if centering not in CENTERINGS:
            raise ValueError(f"PCKALoss: centering must be one of {CENTERINGS}, got {centering!r}")
        if patch_size == "auto" and position_weight:
            raise ValueError("PCKALoss: position_weight needs patches of a given size: write a number for patch_size")
        if position_weight and average == "channel" and patch_size**2 < MIN_SAMPLES[centering]:
            raise ValueError(
                f"PCKALoss: position_weight compares the positions within a patch; patch_size={patch_size} has "
                f"{patch_size**2}, and centering={centering!r} needs {MIN_SAMPLES[centering]}: use larger patches, or "
                "position_weight=0"
            )
        self.centering = centering
        self.position_weight = position_weight

    @property
    def active(self) -> bool:
        """Whether either term has any weight."""
        return self.loss_weight != 0 or self.position_weight != 0

    @property
    def min_patches(self) -> int:
        """Patches that the estimator needs."""
        return MIN_SAMPLES[self.centering]

    @property
    def requirement(self) -> str:
        """How many, for messages."""
        return f"centering={self.centering!r} needs {self.min_patches}"

    @property
    def same_channels(self) -> bool:
        """The term over positions compares channel i with channel i too."""
        return super().same_channels or self.position_weight != 0

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        """Weighted loss of one pair of maps, in float32 or wider."""
        teacher = self.align(student, teacher)
        weights = {"patches": self.loss_weight}
        if self.position_weight:
            weights["positions"] = self.position_weight
        options = self.patch_side(*student.shape[2:]), self.average, self.centering, self.fit
        similarities = patch_cka(student, teacher, *options, samples=tuple(weights))
        self.similarity = similarities[0].detach()
        return sum(weight * (1 - value) for weight, value in zip(weights.values(), similarities, strict=True))

    def details(self, size: Sequence[int]) -> list[str]:
        """Weight of the term over positions, and the patches."""
        positions = [f"positions {self.position_weight:g}"] if self.position_weight else []
        return [*positions, *super().details(size)]
