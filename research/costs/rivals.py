"""Rival implementations of the uncentred PCKA loss, for benchmarks. They need torch alone.

Shape shorthand: a map is `(B, C, H, W)`.
"""

import argparse
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pcka_mmdet.functional import extract_patches
from pcka_mmdet.functional.patches import patch_grid

STRIDES = (8, 16, 32, 64, 128)
LOSS_WEIGHT = 10


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neck_maps`."""
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=[800, 1344], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--patch-size", type=int, default=16)


def neck_maps(
    batch: int, channels: int, size: Sequence[int], patch_size: int, **options: object
) -> tuple[list[Tensor], list[Tensor]]:
    """Random maps of a student and a teacher, for each level with two patches or more.

    With one patch, CKA is 1 in the rivals and undefined in ours.
    """
    sizes = [tuple(math.ceil(side / stride) for side in size) for stride in STRIDES]
    sizes = [size for size in sizes if math.prod(patch_grid(*size, patch_size)) > 1]
    return tuple([torch.randn(batch, channels, *size, **options) for size in sizes] for _ in range(2))


def hsic(x: Tensor, y: Tensor) -> Tensor:
    """tr(XX'YY') of patch matrices `(N, D)`, as in the released code."""
    return torch.trace(x @ x.T @ (y @ y.T))


def naive_cka(x: Tensor, y: Tensor) -> Tensor:
    """Uncentred CKA of patch matrices `(N, D)`."""
    return hsic(x, y) / (hsic(x, x).sqrt() * hsic(y, y).sqrt())


def loop(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """Loop over channels, each indexed out of the patches, as in the released code.

    The gradient of each indexing is a tensor of zeros as large as all patches.
    """
    x, y = (extract_patches(m, patch_size) for m in (student, teacher))
    values = [naive_cka(x[channel], y[channel]) for channel in range(len(x))]
    return LOSS_WEIGHT * (1 - torch.stack(values).mean())


def unbound(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """The same loop over `unbind`, which stacks the gradients of all channels once."""
    groups = (extract_patches(m, patch_size).unbind() for m in (student, teacher))
    return LOSS_WEIGHT * (1 - torch.stack([naive_cka(x, y) for x, y in zip(*groups, strict=True)]).mean())


def batched(student: Tensor, teacher: Tensor, patch_size: int) -> Tensor:
    """All channels at once, with autograd's gradient."""
    x, y = (extract_patches(m, patch_size) for m in (student, teacher))
    k, l = x @ x.mT, y @ y.mT
    norms = [(gram * gram).sum((-2, -1)).sqrt() for gram in (k, l)]
    return LOSS_WEIGHT * (1 - ((k * l).sum((-2, -1)) / (norms[0] * norms[1])).mean())


def value_and_gradients(
    loss: Callable, students: Sequence[Tensor], teachers: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Value and gradients of a loss, summed over the levels."""
    students = [m.detach().requires_grad_() for m in students]
    total = sum(loss(s, t) for s, t in zip(students, teachers, strict=True))
    total.backward()
    return total.detach(), [m.grad for m in students]


RIVALS = {"naive loop": loop, "loop over unbind": unbound, "batched, autograd": batched}
