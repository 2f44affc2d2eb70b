"""Feature maps as G groups of patch matrices: N x D, one patch per row.

Shape shorthand: B images, C channels, H x W positions, p patch side, N = (H / p) (W / p) patches.
What a row holds depends on what the loss is averaged over:

    average      groups G    features D
    'channel'    C           B p p
    'batch'      B           C p p
    'spatial'    p p         B C
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FITS = ("resize", "pad", "crop")

# (B, C, rows, p, columns, p) -> (groups..., rows, columns, features...)
_AXES = {"channel": (1, 2, 4, 0, 3, 5), "batch": (0, 2, 4, 1, 3, 5), "spatial": (3, 5, 2, 4, 0, 1)}
AVERAGES = tuple(_AXES)


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
    if (height, width) != target:
        if fit == "resize":
            feat = _resize(feat, target)
        elif fit == "pad":
            feat = F.pad(feat, (0, target[1] - width, 0, target[0] - height))
        else:
            feat = feat[:, :, : target[0], : target[1]]
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
    return F.pad(maps, (0, width - maps.shape[3], 0, height - maps.shape[2]))  # negative padding crops


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
