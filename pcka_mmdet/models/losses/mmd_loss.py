"""Maximum mean discrepancy between patches: the ablation of PCKA."""

from torch import Tensor

from pcka_mmdet.functional import mmd
from pcka_mmdet.functional.mmd import KERNELS
from pcka_mmdet.registry import MODELS

from .level_loss import Batch
from .patch_loss import PatchLoss


@MODELS.register_module()
class MMDLoss(PatchLoss):
    """Squared maximum mean discrepancy between the patches of both maps, the mean over groups of patches.

    Args:
        loss_weight: Factor of the loss. The linear form is at most 1 / N^2 for N patches, so its weight is large, or
            its gradient is balanced.
        kernel: `'linear'` or `'rbf'`; see `pcka_mmdet.functional.mmd`. `'rbf'` needs equal numbers of channels.
        patch_size: See `PatchLoss`, as for `average` and `fit`.

    Raises:
        ValueError: An option is unknown.
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
