"""Pictures of neck maps: channel mean, principal components in common colours, single channels, local CKA."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPONENTS = 3
"""Principal components that are shown, as red, green and blue."""

HOW_TO_READ = (
    "Mean: where a map responds. Components: places of one colour have like features, in all models of a row.\n"
    "On the image: where it is green, a patch's features relate to each other as the teacher's do; where red, not."
)
"""What the picture's columns say."""


def principal_components(feature_map: Tensor) -> Tensor:
    """The first principal components of a map over its positions, `(H, W, 3)`, each with variance 1.

    Args:
        feature_map: `(C, H, W)`; missing components, of a map of fewer channels or positions, are 0.
    """
    channels, height, width = feature_map.shape
    x = feature_map.detach().double().reshape(channels, -1).T
    x = x - x.mean(0)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    u = u[:, : int((s > s.max() * 1e-9).sum())][:, :COMPONENTS] * len(x) ** 0.5
    return torch.nn.functional.pad(u, (0, COMPONENTS - u.shape[1])).reshape(height, width, COMPONENTS)


def align(components: Tensor, reference: Tensor) -> Tensor:
    """Rotate components to those of another map, so that both may be shown in common colours (orthogonal Procrustes).

    Args:
        components: `(H, W, 3)`.
        reference: The same of the other map.
    """
    u, _, v = torch.linalg.svd(components.reshape(-1, COMPONENTS).T @ reference.reshape(-1, COMPONENTS))
    return (components.reshape(-1, COMPONENTS) @ (u @ v)).reshape(components.shape)


def plot_features(
    picture: np.ndarray,
    levels: Mapping[str, Mapping[str, Tensor]],
    local: Mapping[str, Mapping[str, Tensor]],
    path: Path,
    channels: Sequence[int],
) -> None:
    """Draw levels as rows; for each model its channel mean, its components and chosen channels, and local CKA.

    Args:
        picture: The image `(H, W, 3)`, RGB.
        levels: By name of the level, each model's map `(C, H, W)`; the first model is the teacher.
        local: By name of the level and of the model, its CKA to the teacher in each patch, `(rows, columns)`.
        path: File of the plot.
        channels: Channels that are shown besides.
    """
    from matplotlib.figure import Figure

    models = list(next(iter(levels.values())))
    columns = len(models) * (2 + len(channels)) + len(models) - 1
    height = 1.9 * picture.shape[0] / picture.shape[1] + 0.3
    figure = Figure(figsize=(1.9 * columns, height * len(levels)), layout="constrained")
    for row, (level, maps) in zip(figure.subplots(len(levels), columns, squeeze=False), levels.items(), strict=True):
        places = iter(row)
        reference = principal_components(next(iter(maps.values())))
        for model, values in maps.items():
            _show(next(places), values.float().mean(0), f"{model}, mean", cmap="viridis")
            aligned = align(principal_components(values), reference)
            _show(next(places), (aligned / 4 + 0.5).clamp(0, 1), "components")
            for channel in channels:
                _show(next(places), values[channel], f"channel {channel}", cmap="viridis")
        for model, values in local[level].items():
            axes = next(places)
            extent = (0, picture.shape[1], picture.shape[0], 0)
            axes.imshow(picture, extent=extent)
            drawn = axes.imshow(values, extent=extent, cmap="RdYlGn", vmin=0, vmax=1, alpha=0.55)
            axes.set_title(f"{model}, CKA {values.mean():.2f}", fontsize=8)
            axes.set_axis_off()
        row[0].text(-0.08, 0.5, level, transform=row[0].transAxes, rotation=90, va="center", ha="right")
    figure.colorbar(drawn, ax=list(figure.axes), shrink=0.4, label="CKA to the teacher in a patch")
    figure.supxlabel(HOW_TO_READ, fontsize=9)
    figure.savefig(path, dpi=128)


def plot_matrix(
    matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], titles: tuple[str, str], path: Path
) -> None:
    """Draw the similarity of each level of one model with each of another.

    Args:
        matrix: CKA `(rows, columns)`.
        rows: Names of the first model's levels.
        columns: Names of the other's.
        titles: Names of the models.
        path: File of the plot.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.8 + 0.6 * len(columns), 1.4 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="viridis", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_ylabel(titles[0])
    axes.set_xlabel(titles[1])
    figure.savefig(path, dpi=128)


def _show(axes: "Axes", values: Tensor, title: str, **options: str) -> None:
    axes.imshow(values.detach().numpy(), interpolation="nearest", **options)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
