"""Pictures of detections, confusion matrices and neck maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pycocotools import mask
from torch import Tensor

from . import theme
from .matches import Box, Matches
from .run import Run

COMPONENTS = 3  # principal components, shown as red, green and blue

HOW_TO_READ = (
    "Mean: where a map responds. Components: places of one colour have like features, in all models of a row.\n"
    "On the image: where it is green, a patch's features relate to each other as the teacher's do; where red, not."
)
"""What the columns of `plot_features` show."""


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` images, evenly spaced, so that none is hand-picked."""
    wanted = min(wanted, count)
    return [(2 * number + 1) * count // (2 * wanted) for number in range(wanted)]


def plot_gallery(runs: Mapping[str, Run], path: Path, images: int = 3, threshold: float = 0.3) -> None:
    """Draw test images as rows; ground truth and trainings, by title, as columns. Wrong detections are dashed.

    Detections have a score of at least `threshold`.

    Raises:
        FileNotFoundError: A test image is missing or damaged.
    """
    first = next(iter(runs.values()))
    matches = first.matches
    rows = [matches.images[number] for number in evenly_spaced(len(matches.images), images)]
    files = [first.picture(image) for image in rows]
    pictures = [cv2.imread(str(file)) for file in files]
    if lost := [str(file) for file, picture in zip(files, pictures, strict=True) if picture is None]:
        raise FileNotFoundError(f"{lost[0]!r} is missing or damaged: put the test images back, or set data_root")
    height, width = pictures[0].shape[:2]
    columns = {"ground truth": matches.objects}
    columns |= {title: run.matches.detections(threshold) for title, run in runs.items()}
    size = (3.0 * len(columns), 3.0 * height / width * len(rows) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, image, picture in zip(grid, rows, pictures, strict=True):
        for axes, boxes in zip(line, columns.values(), strict=True):
            axes.imshow(picture[..., ::-1], interpolation="nearest")
            axes.set_axis_off()
            _draw(axes, boxes[image], matches.classes)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=13)
    note = f"detections with a score of {threshold:.0%} or more; dashed: wrong class or place"
    figure.supxlabel(note, fontsize=11)
    figure.savefig(path, dpi=128)


def _draw(axes: Axes, boxes: Sequence[Box], classes: Sequence[str]) -> None:
    for box in reversed(boxes):  # the best on top
        x, y, width, height = box.bbox
        colour, text = theme.class_colour(box.label), classes[box.label]
        if box.score is not None:
            text += f" {100 * box.score:.0f}%"
        style = "-" if box.correct else (0, (2, 1))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, ec=colour, lw=2, ls=style))
        # outside the box, but inside the image
        at_right, at_top = x > 0.75 * axes.get_xlim()[1], y < 0.03 * axes.get_ylim()[0]
        axes.annotate(
            text,
            (x + width - 0.5 if at_right else x - 0.5, y - 0.5),
            xytext=(0, -2 if at_top else 2),
            textcoords="offset points",
            ha="right" if at_right else "left",
            va="top" if at_top else "bottom",
            fontsize=8,
            color=theme.text_on(colour),
            bbox=dict(boxstyle="square,pad=0.12", fc=colour, ec="none"),
        )


def confusion_matrix(matches: Matches, threshold: float = 0.3) -> np.ndarray:
    """Pairs of an object's class (row) and a detection's class (column), `(K + 1, K + 1)`; the last is the background.

    Counts as MMDetection's `confusion_matrix.py`, except that crowds are no objects. A detection with a score of at
    least `threshold` counts for each object that it overlaps, at an IoU of 0.5. An object that no detection of its
    class overlaps counts as background too.
    """
    count = len(matches.classes)
    matrix = np.zeros((count + 1, count + 1), dtype=int)
    for image, detections in matches.detections(threshold).items():
        objects = matches.objects[image]
        bboxes = ([box.bbox for box in boxes] for boxes in (detections, objects))
        overlap = np.reshape(mask.iou(*bboxes, [0] * len(objects)), (len(detections), len(objects))) >= 0.5
        detected, true = (np.array([box.label for box in boxes], dtype=int) for boxes in (detections, objects))
        rows, columns = np.nonzero(overlap)
        missed = ~(overlap & (detected[:, None] == true)).any(0)
        np.add.at(matrix, (true[columns], detected[rows]), 1)
        np.add.at(matrix[:, -1], true[missed], 1)
        np.add.at(matrix[-1], detected[~overlap.any(1)], 1)
    return matrix


def confusion_figure(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw matrices of `confusion_matrix`, given by title, side by side; each row in percent."""
    names = [*classes, "none"]
    side = 1.5 + 0.42 * len(names)
    figure = Figure(figsize=(side * len(matrices), side + 0.8), layout="constrained")
    grid = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (title, matrix) in zip(grid, matrices.items(), strict=True):
        percent = 100 * matrix / matrix.sum(1, keepdims=True).clip(min=1)
        _draw_matrix(axes, np.where(percent < 0.5, np.nan, percent), names, names, 100, "{:.0f}")
        axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel("detected")
        axes.set_ylabel("object, % of the row")
        axes.set_title(title)
    return figure


def plot_similarity(
    matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], titles: tuple[str, str], path: Path
) -> None:
    """Draw the CKA of each level of one model, in `rows`, with each level of another, in `columns`."""
    figure = Figure(figsize=(1.8 + 0.6 * len(columns), 1.4 + 0.6 * len(rows)), layout="constrained")
    axes = figure.subplots()
    _draw_matrix(axes, matrix, rows, columns, 1, "{:.2f}")
    axes.set_ylabel(titles[0])
    axes.set_xlabel(titles[1])
    figure.savefig(path, dpi=128)


def _draw_matrix(
    axes: Axes, matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], limit: float, form: str
) -> None:
    """Cells from white at 0 to blue at `limit`, with their values; a NaN is white and has none."""
    axes.imshow(np.nan_to_num(matrix), cmap="Blues", vmin=0, vmax=limit)
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            colour = "white" if value > 0.6 * limit else "#111111"  # not black: it stays on these cells in dark mode
            axes.text(column, row, form.format(value), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)


def principal_components(feature_map: Tensor) -> Tensor:
    """The first principal components of a map `(C, H, W)` over its positions, `(H, W, 3)`, each with variance 1.

    Components that a map of few channels or positions lacks are 0.
    """
    channels, height, width = feature_map.shape
    x = feature_map.detach().double().reshape(channels, -1).T
    x = x - x.mean(0)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    u = u[:, : int((s > s.max() * 1e-9).sum())][:, :COMPONENTS] * len(x) ** 0.5
    return torch.nn.functional.pad(u, (0, COMPONENTS - u.shape[1])).reshape(height, width, COMPONENTS)


def align(components: Tensor, reference: Tensor) -> Tensor:
    """Rotate components, `(H, W, 3)`, to those of another map (orthogonal Procrustes), for common colours."""
    u, _, v = torch.linalg.svd(components.reshape(-1, COMPONENTS).T @ reference.reshape(-1, COMPONENTS))
    return (components.reshape(-1, COMPONENTS) @ (u @ v)).reshape(components.shape)


def plot_features(
    picture: np.ndarray,
    levels: Mapping[str, Mapping[str, Tensor]],
    local: Mapping[str, Mapping[str, Tensor]],
    path: Path,
    channels: Sequence[int],
) -> None:
    """Draw levels as rows; for each model its channel mean, its components and `channels`, and local CKA.

    Args:
        picture: The image `(H, W, 3)`, RGB.
        levels: By name of the level, each model's map `(C, H, W)`; the first model is the teacher.
        local: By name of the level and of the model, its CKA to the teacher in each patch, `(rows, columns)`.
    """
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
        extent = (0, picture.shape[1], picture.shape[0], 0)
        for model, values in local[level].items():
            axes = next(places)
            axes.imshow(picture, extent=extent)
            drawn = axes.imshow(values, extent=extent, cmap="RdYlGn", vmin=0, vmax=1, alpha=0.55)
            axes.set_title(f"{model}, CKA {values.mean():.2f}", fontsize=8)
            axes.set_axis_off()
        row[0].text(-0.08, 0.5, level, transform=row[0].transAxes, rotation=90, va="center", ha="right")
    figure.colorbar(drawn, ax=list(figure.axes), shrink=0.4, label="CKA to the teacher in a patch")
    figure.supxlabel(HOW_TO_READ, fontsize=9)
    figure.savefig(path, dpi=128)


def _show(axes: Axes, values: Tensor, title: str, **options: str) -> None:
    axes.imshow(values.detach().numpy(), interpolation="nearest", **options)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
