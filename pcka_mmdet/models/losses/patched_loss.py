"""Any loss of two tensors, on the patches of maps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from pcka_mmdet.functional import extract_patches
from pcka_mmdet.registry import MODELS

from .level_loss import Batch
from .patch_loss import PatchLoss

LAYOUTS = ("rows", "maps")

FAILURES = (IndexError, RuntimeError, TypeError, ValueError)
"""What a loss raises for inputs that it does not take."""

UNCHANGED = 1e-6
"""Sine of the angle between two gradients below which they have one direction."""


@MODELS.register_module()
class PatchedLoss(PatchLoss):
    """A loss on patches in place of whole maps, the mean over groups of patches (the paper's Table 7).

    A group has N patches of D features; see `pcka_mmdet.functional.patches`. The loss gets them in one of two layouts:

    - `'rows'`: `(N, D)`, for losses of logits (KL divergence, DIST): one patch takes the place of one sample.
    - `'maps'`: `(N, D / p^2, p, p)`, for losses of maps (attention transfer, channel-wise distillation): one patch
      takes the place of one image. With `average='channel'` its channels are the images of the batch, with `'batch'`
      the channels of the map.

    Args:
        loss: Config of the loss: a module without parameters that takes the student's and the teacher's tensor.
        loss_weight: Factor of the loss, times its weight in `loss`.
        layout: `'rows'` or `'maps'`.
        patch_size: See `PatchLoss`, as for `average` and `fit`. The wrapped loss needs equal numbers of channels.

    Raises:
        ValueError: An option is unknown; the loss has parameters; or, on random maps, patches do not change it (up to
            a factor), or it is constant on patches.
    """

    metric = "similarity.patched"
    """Cosine of the patches of both maps, each side as one vector."""

    def __init__(
        self,
        loss: dict,
        loss_weight: float = 1.0,
        layout: str = "rows",
        patch_size: int | str = 16,
        average: str = "channel",
        fit: str = "resize",
    ):
        module = MODELS.build(loss)
        super().__init__(loss_weight * getattr(module, "loss_weight", 1.0), patch_size, average, fit)
        if layout not in LAYOUTS:
            raise ValueError(f"PatchedLoss: layout must be one of {LAYOUTS}, got {layout!r}")
        if layout == "maps" and average == "spatial":
            raise ValueError("PatchedLoss: average='spatial' leaves no map: write layout='rows' or another average")
        self.name = loss["type"] if isinstance(loss["type"], str) else loss["type"].__name__
        if any(True for _ in module.parameters()):
            raise ValueError(f"PatchedLoss: {self.name} has parameters, which the groups of patches cannot share")
        self.loss, self.factor, self.layout = module, loss_weight, layout
        self.same_channels = True
        if self.active:
            self._check_effect(2 if patch_size == "auto" else patch_size)

    def level_loss(self, student: Tensor, teacher: Tensor, batch: Batch | None = None) -> Tensor:
        dtype = torch.promote_types(student.dtype, torch.float32)
        patches = self.cut(student.to(dtype), teacher.to(dtype))
        self.note_cosine(*patches)
        return self.factor * self._mean_over_groups(*patches, self.patch_side(*student.shape[2:]), self.layout)

    def _mean_over_groups(self, student: Tensor, teacher: Tensor, side: int, layout: str) -> Tensor:
        if layout == "maps":
            student, teacher = (patches.unflatten(2, (-1, side, side)).contiguous() for patches in (student, teacher))
        return vmap(self.loss)(student, teacher).mean()

    def is_degenerate(self, size: Sequence[int]) -> bool:
        """Whether the map gives fewer than two patches or, with `layout='maps'`, patches of a single position."""
        return super().is_degenerate(size) or (self.layout == "maps" and self.patch_side(*size) == 1)

    def degenerate_message(self, size: Sequence[int]) -> str:
        if super().is_degenerate(size):
            return super().degenerate_message(size)
        return (
            f"a map of {'x'.join(map(str, size))} has patches of side 1, and layout='maps' needs at least 2: give a "
            "patch_size, leave the level out (strides=...), or use layout='rows'"
        )

    def _check_effect(self, side: int) -> None:
        """Refuse a loss whose gradient patches do not change: 2x2 patches of a map against a single one."""
        try:
            patched, whole = (self._gradient(2 * side, size, self.layout) for size in (side, 2 * side))
        except FAILURES as error:
            raise ValueError(
                f"PatchedLoss: {self.name} does not take patches as {self.layout} ({error}){self._advice(side)}"
            ) from error
        case = f"with layout={self.layout!r}, average={self.average!r}"
        if patched.norm() < 1e-12 or not patched.isfinite().all():
            raise ValueError(
                f"PatchedLoss: {self.name} is constant on patches of side {side} {case}: choose another layout or "
                "larger patches"
            )
        if (patched / patched.norm() - whole / whole.norm().clamp(min=1e-30)).norm() < UNCHANGED:
            raise ValueError(
                f"PatchedLoss: patches do not change {self.name} {case}: its gradient has the same direction as for "
                "whole maps. Use the loss itself"
            )

    def _gradient(self, whole: int, side: int, layout: str) -> Tensor:
        """Gradient of the loss for random maps of side `whole`, on patches of another side."""
        generator = torch.Generator().manual_seed(0)
        student, teacher = (torch.randn(2, 3, whole, whole, generator=generator) for _ in range(2))
        patches = (extract_patches(maps, side, self.average) for maps in (student.requires_grad_(), teacher))
        return torch.autograd.grad(self._mean_over_groups(*patches, side, layout), student)[0].double()

    def _advice(self, side: int) -> str:
        """What to write in place of a layout that the loss does not take."""
        (alternative,) = set(LAYOUTS) - {self.layout}
        try:
            self._gradient(2 * side, side, alternative)
        except FAILURES:
            return f", nor as {alternative}: use the loss itself"
        return f": write layout={alternative!r}"

    def details(self, size: Sequence[int]) -> list[str]:
        return [f"{self.name} on {self.layout}", *super().details(size)]
