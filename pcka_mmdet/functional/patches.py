"""Feature maps as G groups of patch matrices (N x D, one patch per row), and CKA between the patches of two maps.

Shape shorthand: B images, C channels, H x W positions, p patch side, N = (H / p) (W / p) patches.
What a row holds depends on what the loss is averaged over:

    average      groups G    features D
    'channel'    C           B p p
    'batch'      B           C p p
    'spatial'    p p         B C
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cka import check_samples, rescale, rows_and_columns, value_and_gradient

FITS = ("resize", "pad", "crop")

# (B, C, rows, p, columns, p) -> (groups..., rows, columns, features...)
_AXES = {"channel": (1, 2, 4, 0, 3, 5), "batch": (0, 2, 4, 1, 3, 5), "spatial": (3, 5, 2, 4, 0, 1)}
AVERAGES = tuple(_AXES)

PART_BYTES = {"cpu": 2 * 2**20, "gpu": 64 * 2**20}
"""Bytes of the student's map that are processed at a time: about a CPU's cache, and little of a GPU's memory."""

SAMPLES = ("patches", "positions")


def patch_grid(height: int, width: int, patch_size: int = 16, fit: str = "resize") -> tuple[int, int]:
    """Rows and columns of patches in a map. Raises ValueError for an unknown `fit` or a `patch_size` below 1."""
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    if fit not in FITS:
        raise ValueError(f"fit must be one of {FITS}, got {fit!r}")
    if fit == "crop":
        return height // patch_size, width // patch_size
    return math.ceil(height / patch_size), math.ceil(width / patch_size)


def extract_patches(feat: Tensor, patch_size: int = 16, average: str = "channel", fit: str = "resize") -> Tensor:
    """Cut feature maps into square patches that do not overlap.

    Args:
        feat: Feature maps `(B, C, H, W)`.
        patch_size: Side p of a patch, in positions of the map.
        average: What a group is, and so what a mean over groups averages; see the table above.
        fit: How to cut a map whose side is no multiple of p: `'resize'` stretches it bilinearly to the next multiple
            (the paper's released code), `'pad'` adds zeros at the right and bottom, `'crop'` drops positions that do
            not fill a patch. The last two keep the sampling grid.

    Returns:
        Patch matrices `(G, N, D)`; patches are in row-major order.

    Raises:
        ValueError: `feat` does not have four dimensions, an option is unknown, or cropping leaves no patch.
    """
    if feat.dim() != 4:
        raise ValueError(f"expected feature maps of shape (B, C, H, W), got {tuple(feat.shape)}")
    if average not in _AXES:
        raise ValueError(f"average must be one of {AVERAGES}, got {average!r}")
    batch, channels, height, width = feat.shape
    p = patch_size
    rows, columns = patch_grid(height, width, p, fit)
    if rows * columns == 0:
        raise ValueError(
            f"fit='crop' leaves no patch of {p}x{p} in a map of {height}x{width}: "
            "use a smaller patch_size, or fit='resize' or 'pad'"
        )
    target = (rows * p, columns * p)
    if fit == "resize" and (height, width) != target:
        feat = _resize(feat, target)
    elif (height, width) != target:  # negative padding crops
        feat = F.pad(feat, (0, target[1] - width, 0, target[0] - height))
    blocks = feat.reshape(batch, channels, rows, p, columns, p).permute(_AXES[average])
    groups = {"channel": channels, "batch": batch, "spatial": p * p}[average]
    return blocks.reshape(groups, rows * columns, -1)


def join_patches(
    patches: Tensor, shape: Sequence[int], patch_size: int = 16, average: str = "channel", fit: str = "resize"
) -> Tensor:
    """The adjoint of `extract_patches`: the gradient in maps of the given shape, from that in their patches."""
    batch, channels, height, width = shape
    p = patch_size
    rows, columns = patch_grid(height, width, p, fit)
    axes = _AXES[average]
    whole = batch, channels, rows, p, columns, p
    blocks = patches.reshape([whole[axis] for axis in axes]).permute([axes.index(axis) for axis in range(6)])
    maps = blocks.reshape(batch, channels, rows * p, columns * p)
    if (height, width) == maps.shape[2:]:
        return maps
    if fit == "resize" and torch.are_deterministic_algorithms_enabled():
        # the kernel below is not deterministic on a GPU; the gradient of interpolate is
        adjoint = torch.func.vjp(lambda m: _resize(m, maps.shape[2:]), maps.new_zeros(shape))[1]
        return adjoint(maps)[0]
    if fit == "resize":
        return torch.ops.aten.upsample_bilinear2d_backward(maps, maps.shape[2:], shape, False)
    return F.pad(maps, (0, width - maps.shape[3], 0, height - maps.shape[2]))


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def patch_cka(
    student: Tensor,
    teacher: Tensor,
    patch_size: int = 16,
    average: str = "channel",
    centering: str = "center",
    fit: str = "resize",
    samples: str | tuple[str, ...] = "patches",
) -> Tensor:
    """Mean of `cka(extract_patches(student), extract_patches(teacher))` over the groups of patches.

    It is differentiable once in the student's map; the teacher's map is a constant.

    Args:
        student: Feature map `(B, C1, H, W)`.
        teacher: Feature map `(B, C2, H, W)`; C2 = C1 for `average='channel'` and for `samples='positions'`.
        patch_size: See `extract_patches`, as for `average` and `fit`.
        centering: See `cka`.
        samples: What the Gram matrix compares: `'patches'`, `'positions'` (the features of a patch: the patch matrices
            are transposed), or a tuple of both. With both, patches are cut once, and uncentred terms share products.

    Returns:
        Mean similarity, a scalar in float32 or wider; for a tuple of `samples`, one value each. See `cka`.

    Raises:
        ValueError: The maps differ in images, size or channels, an option is unknown, or a map gives too few samples.
    """
    images_and_sizes = [(maps.shape[:1], maps.shape[2:]) for maps in (student, teacher)]
    if student.dim() != 4 or not student.numel() or images_and_sizes[0] != images_and_sizes[1]:
        raise ValueError(
            "expected two maps (B, C, H, W) of the same images and size, not empty, "
            f"got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    kinds = (samples,) if isinstance(samples, str) else samples
    if not kinds or not set(kinds) <= set(SAMPLES):
        raise ValueError(f"samples must be one or more of {SAMPLES}, got {samples!r}")
    if (average == "channel" or "positions" in kinds) and student.shape[1] != teacher.shape[1]:
        raise ValueError(
            "average='channel' and samples='positions' compare channel by channel, "
            f"got {student.shape[1]} and {teacher.shape[1]} channels"
        )
    wanted = student.requires_grad and torch.is_grad_enabled()
    means = _PatchCKA.apply(student, teacher.detach(), wanted, centering, kinds, (patch_size, average, fit))
    return means[0] if isinstance(samples, str) else means


class _PatchCKA(torch.autograd.Function):
    """Computes value and gradient of a few groups at a time, for the processor's cache, and keeps the gradient only."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, wanted: bool, centering: str, kinds: tuple, cut: tuple
    ) -> Tensor:
        wide = torch.promote_types(student.dtype, torch.float32)
        values: list[Tensor] = []
        gradients = [torch.empty_like(student, dtype=wide) for _ in kinds if wanted]
        with torch.autocast(student.device.type, enabled=False):
            for part in _parts(student, cut[1]):
                x, y = (extract_patches(maps[part].to(wide), *cut) for maps in (student, teacher))
                part_values, part_gradients = _evaluate(x, y, centering, kinds, wanted)
                values.append(torch.stack(part_values))
                for whole, gradient in zip(gradients, part_gradients, strict=True):
                    whole[part] = join_patches(gradient, student[part].shape, *cut)
        ctx.save_for_backward(*gradients)
        ctx.groups, ctx.dtype = sum(part.shape[1] for part in values), student.dtype
        return torch.cat(values, 1).mean(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, *rest = zip(grad / ctx.groups, ctx.saved_tensors, strict=True)
        total = first[0] * first[1]
        for factor, gradient in rest:
            total.addcmul_(factor, gradient)
        return total.to(ctx.dtype), *(None,) * 5


def _evaluate(x: Tensor, y: Tensor, centering: str, kinds: tuple, wanted: bool) -> tuple[list[Tensor], list[Tensor]]:
    """CKA `(G,)` of patches `(G, N, D)` for each kind of samples and, if wanted, its gradients in `x`."""
    if centering == "none" and kinds == SAMPLES and x.shape == y.shape:
        check_samples(min(x.shape[1:]), centering)
        (x, scale), (y, _) = rescale(x, centering), rescale(y, centering)
        values, gradients = rows_and_columns(x, y, wanted)
        return values, [gradient.mul_(scale) for gradient in gradients]
    values, gradients = [], []
    for kind in kinds:
        sides = (x, y) if kind == "patches" else (x.mT, y.mT)
        value, gradient = value_and_gradient(*sides, centering, wanted)
        values.append(value)
        if gradient is not None:
            gradients.append(gradient if kind == "patches" else gradient.mT)
    return values, gradients


def _parts(feature_map: Tensor, average: str) -> list[tuple[slice, ...]]:
    """Slices of a few groups each, which together cover the map."""
    axis = {"channel": 1, "batch": 0}.get(average)
    if axis is None:  # each group of `average='spatial'` needs the whole map
        return [(slice(None),)]
    groups = feature_map.shape[axis]
    budget = PART_BYTES["cpu" if feature_map.device.type == "cpu" else "gpu"]
    step = max(1, budget * groups // (4 * feature_map.numel()))
    return [(slice(None),) * axis + (slice(start, start + step),) for start in range(0, groups, step)]
