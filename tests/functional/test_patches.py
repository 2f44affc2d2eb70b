"""Patch matrices against slices of the map."""

import pytest
import torch

from pcka_mmdet.functional import extract_patches
from pcka_mmdet.functional.patches import AVERAGES, patch_grid


def naive_patches(feat, p, average):
    _, channels, height, width = feat.shape
    corners = [(i, j) for i in range(0, height, p) for j in range(0, width, p)]
    if average == "channel":
        return torch.stack(
            [torch.stack([feat[:, c, i : i + p, j : j + p].flatten() for i, j in corners]) for c in range(channels)]
        )
    if average == "batch":
        return torch.stack([torch.stack([f[:, i : i + p, j : j + p].flatten() for i, j in corners]) for f in feat])
    return torch.stack(
        [torch.stack([feat[:, :, i + di, j + dj].flatten() for i, j in corners]) for di in range(p) for dj in range(p)]
    )


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("p", [1, 2, 4])
def test_equals_slices_of_the_map(average, p):
    feat = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(extract_patches(feat, p, average), naive_patches(feat, p, average), rtol=0, atol=0)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("fit, grid", [("resize", (4, 6)), ("pad", (4, 6)), ("crop", (3, 5))])
def test_maps_that_do_not_divide(average, fit, grid):
    feat = torch.randn(2, 3, 50, 84)
    assert patch_grid(50, 84, 16, fit) == grid
    patches = extract_patches(feat, 16, average, fit)
    assert patches.shape[1] == grid[0] * grid[1]
    assert patches.numel() == 2 * 3 * grid[0] * grid[1] * 256
    height, width = 16 * grid[0], 16 * grid[1]
    fitted = {
        "resize": lambda: torch.nn.functional.interpolate(feat, (height, width), mode="bilinear"),
        "pad": lambda: torch.nn.functional.pad(feat, (0, width - 84, 0, height - 50)),
        "crop": lambda: feat[:, :, :height, :width],
    }[fit]()
    torch.testing.assert_close(patches, naive_patches(fitted, 16, average), rtol=0, atol=0)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(3, 8, 8\)"):
        extract_patches(torch.randn(3, 8, 8))
    with pytest.raises(ValueError, match="average must be one of .*'image'"):
        extract_patches(torch.randn(1, 3, 8, 8), average="image")
    with pytest.raises(ValueError, match="fit must be one of .*'stretch'"):
        extract_patches(torch.randn(1, 3, 8, 8), fit="stretch")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        extract_patches(torch.randn(1, 3, 8, 8), 0)
    with pytest.raises(ValueError, match="leaves no patch of 16x16 in a map of 8x8.*smaller patch_size"):
        extract_patches(torch.randn(1, 3, 8, 8), 16, fit="crop")
