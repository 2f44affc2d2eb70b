"""Losses on the patches of maps: their base class, and a wrapper for any loss of two tensors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from pcka_mmdet.functional import extract_patches
from pcka_mmdet.functional.patches import AVERAGES, patch_grid
from pcka_mmdet.registry import MODELS

from ..outputs import in_float32
from .level_loss import Batch, LevelLoss

AUTO_PATCHES = 64
"""Patches that `patch_size='auto'` aims at: on COCO's 800x1344 pixels it gives sides of 16, 8, 4 and 2."""


class PatchLoss(LevelLoss):
    """Base of losses on patches: how maps are cut, and which maps have too few patches.

    Args:
        loss_weight: Factor of the loss.
        patch_size: Side of a patch, in positions of the map. `'auto'` cuts every map into about 64 patches.
        average: `'channel'`, `'batch'` or `'spatial'`: what the mean over groups of patches averages, see
            `pcka_mmdet.functional.patches`. `'channel'` needs equal numbers of channels.
        fit: `'resize'`, `'pad'` or `'crop'`: how a map is made to hold whole patches.
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
                f"{name}: patch_size is a number or 'auto', in an FPNDistiller also by stride, such as {{8: 2}}; got "
                f"{patch_size}"
            )
        patch_grid(1, 1, 1 if patch_size == "auto" else patch_size, fit)  # refuses bad values
        self.patch_size, self.average, self.fit = patch_size, average, fit
        self.same_channels = average == "channel"
        self.requirement = name  # what needs `min_patches`, for messages

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
        """Also raises ValueError where the map has too few patches."""
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

    def problem(self, size: Sequence[int]) -> str | None:
        if not self.is_degenerate(size):
            return None
        (height, width), side = size, self.patch_side(*size)
        enough = side > 1 and height * width >= self.min_patches
        advice = "use a smaller patch_size" if enough else "leave the level out (strides=...), or use larger images"
        return (
            f"a map of {height}x{width} has {self._patches(size)} of side {side}, and {self.requirement} needs "
            f"{self.min_patches}: {advice}"
        )

    def _patches(self, size: Sequence[int]) -> str:
        count = self.num_patches(*size)
        return "1 patch" if count == 1 else f"{count} patches"

    def details(self, size: Sequence[int]) -> list[str]:
        return [f"{self._patches(size)} of {self.patch_side(*size)}"]


@MODELS.register_module()
class PatchedLoss(PatchLoss):
    """A loss on patches in place of whole maps, the mean over groups of patches (the paper's Table 7).

    Args:
        loss: Config of the loss: a module without parameters that takes the student's and the teacher's tensor.
        loss_weight: Factor of the loss, times its weight in `loss`.
        layout: How the loss gets the N patches of D features of a group (see `pcka_mmdet.functional.patches`).
            `'rows'`: `(N, D)`, for losses of logits (KL divergence, DIST): a patch stands for a sample. `'maps'`:
            `(N, D / p^2, p, p)`, for losses of maps (attention transfer, channel-wise distillation): a patch stands for
            an image. Its channels are the images of the batch with `average='channel'`, else the channels of the map.
        patch_size: See `PatchLoss`.
        average: See `PatchLoss`. The wrapped loss needs equal numbers of channels, whatever is averaged.
        fit: See `PatchLoss`.

    Raises:
        ValueError: An option is unknown; the loss has parameters; on random maps, patches do not change its direction,
            or it is constant on patches.
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
        if layout not in ("rows", "maps"):
            raise ValueError(f"PatchedLoss: layout must be 'rows' or 'maps', got {layout!r}")
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
        patches = self.cut(in_float32(student), in_float32(teacher))
        self.note_cosine(*patches)
        return self.factor * self._mean_over_groups(*patches, self.patch_side(*student.shape[2:]))

    def _mean_over_groups(self, student: Tensor, teacher: Tensor, side: int) -> Tensor:
        if self.layout == "maps":
            student, teacher = (patches.unflatten(2, (-1, side, side)).contiguous() for patches in (student, teacher))
        return vmap(self.loss)(student, teacher).mean()

    def is_degenerate(self, size: Sequence[int]) -> bool:
        return super().is_degenerate(size) or (self.layout == "maps" and self.patch_side(*size) == 1)

    def problem(self, size: Sequence[int]) -> str | None:
        if super().is_degenerate(size) or not self.is_degenerate(size):
            return super().problem(size)
        return (
            f"a map of {'x'.join(map(str, size))} has patches of side 1, and layout='maps' needs at least 2: give a "
            "patch_size, leave the level out (strides=...), or use layout='rows'"
        )

    def _check_effect(self, side: int) -> None:
        """Refuse a loss whose gradient patches do not change: 2x2 patches of a map against a single one."""
        try:
            patched, whole = (self._gradient(2 * side, size) for size in (side, 2 * side))
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"PatchedLoss: {self.name} does not take patches as {self.layout} ({error}): write "
                f"layout={'maps' if self.layout == 'rows' else 'rows'!r}, or use the loss without PatchedLoss"
            ) from error
        case = f"with layout={self.layout!r}, average={self.average!r}"
        if patched.norm() < 1e-12 or not patched.isfinite().all():
            raise ValueError(
                f"PatchedLoss: {self.name} is constant on patches of side {side} {case}: choose another layout or "
                "larger patches"
            )
        if (patched / patched.norm() - whole / whole.norm().clamp(min=1e-30)).norm() < 1e-6:  # the sine of their angle
            raise ValueError(
                f"PatchedLoss: patches do not change {self.name} {case}: its gradient has the same direction as for "
                "whole maps. Use the loss without PatchedLoss"
            )

    def _gradient(self, whole: int, side: int) -> Tensor:
        """Gradient of the loss for random maps of side `whole`, on patches of another side."""
        generator = torch.Generator().manual_seed(0)
        student, teacher = (torch.randn(2, 3, whole, whole, generator=generator) for _ in range(2))
        patches = (extract_patches(maps, side, self.average) for maps in (student.requires_grad_(), teacher))
        return torch.autograd.grad(self._mean_over_groups(*patches, side), student)[0].double()

    def details(self, size: Sequence[int]) -> list[str]:
        return [f"{self.name} on {self.layout}", *super().details(size)]
