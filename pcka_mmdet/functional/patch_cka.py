"""CKA between the patches of two feature maps, fast and with little memory. See `patches` for the shapes.

A few groups of patches are processed at a time, so that they stay in the processor's cache. The gradient is computed
together with the value, and nothing else is kept for the backward pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cka import check_samples, rescale, rows_and_columns, value_and_gradient
from .patches import extract_patches, join_patches

PART_BYTES = {"cpu": 2 * 2**20, "gpu": 64 * 2**20}
"""Bytes of the student's map that are processed at a time: about a CPU's cache, and little of a GPU's memory."""

SAMPLES = ("patches", "positions")


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
    wants_gradient = student.requires_grad and torch.is_grad_enabled()
    cut = patch_size, average, fit
    means = _PatchCKA.apply(student, teacher.detach(), wants_gradient, centering, kinds, cut)
    return means[0] if isinstance(samples, str) else means


class _PatchCKA(torch.autograd.Function):
    """Computes the gradient in `forward`, while the patches are in the cache."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, wants_gradient: bool, centering: str, kinds: tuple, cut: tuple
    ) -> Tensor:
        wide = torch.promote_types(student.dtype, torch.float32)
        values: list[Tensor] = []
        gradients = [torch.empty_like(student, dtype=wide) for _ in kinds if wants_gradient]
        with torch.autocast(student.device.type, enabled=False):
            for part in _parts(student, cut[1]):
                x, y = (extract_patches(maps[part].to(wide), *cut) for maps in (student, teacher))
                part_values, part_gradients = _evaluate(x, y, centering, kinds, wants_gradient)
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


def _evaluate(
    x: Tensor, y: Tensor, centering: str, kinds: tuple, wants_gradient: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """CKA `(G,)` of patches `(G, N, D)` for each kind of samples and, if wanted, its gradients in `x`."""
    if centering == "none" and kinds == SAMPLES and x.shape == y.shape:
        check_samples(min(x.shape[1:]), centering)
        (x, scale), (y, _) = rescale(x, centering), rescale(y, centering)
        values, gradients = rows_and_columns(x, y, wants_gradient)
        return values, [gradient.mul_(scale) for gradient in gradients]
    values, gradients = [], []
    for kind in kinds:
        sides = (x, y) if kind == "patches" else (x.mT, y.mT)
        value, gradient = value_and_gradient(*sides, centering, wants_gradient)
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
