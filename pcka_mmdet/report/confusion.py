"""Confusion matrices of detectors, as MMDetection's `confusion_matrix.py` counts, except that crowds are no objects."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .predictions import IOU, Boxes, detections, outside_crowds, overlap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(
    truth: Mapping[int | str, Boxes],
    predictions: Sequence[dict],
    num_classes: int,
    threshold: float = 0.3,
) -> np.ndarray:
    """Pairs of an object's class (row) and a detection's class (column); the last row and column are the background.

    A detection counts for every object that it overlaps; an object that no detection of its class overlaps counts as
    background too. They overlap from an intersection over union of `IOU`. A crowd is no object, and a
    detection that matches none and lies at least half in a crowd of its class does not count, as in COCO's AP.

    Args:
        truth: See `predictions.read_ground_truth`.
        predictions: See `predictions.read_results`.
        num_classes: Number of classes K.
        threshold: Lowest score of the detections that count.

    Returns:
        Counts `(K + 1, K + 1)`.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), dtype=int)
    for prediction in predictions:
        true = truth[prediction["img_id"]]
        found = outside_crowds(detections(prediction, threshold), true)
        missed = set(range(len(true.labels)))
        for box, label in zip(found.boxes, found.labels, strict=True):
            matched = [number for number, other in enumerate(true.boxes) if overlap(box, other) >= IOU]
            for number in matched:
                matrix[true.labels[number], label] += 1
                if true.labels[number] == label:
                    missed.discard(number)
            if not matched:
                matrix[-1, label] += 1
        for number in missed:
            matrix[true.labels[number], -1] += 1
    return matrix


def confusion_figure(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> "Figure":
    """Matrices side by side, each row in percent.

    Args:
        matrices: See `confusion_matrix`, by title.
        classes: Class names.
    """
    from matplotlib.figure import Figure

    names = [*classes, "none"]
    side = 1.5 + 0.42 * len(names)
    figure = Figure(figsize=(side * len(matrices), side + 0.8), layout="constrained")
    for axes, (title, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        percent = 100 * matrix / matrix.sum(1, keepdims=True).clip(min=1)
        axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(percent):
            if value >= 0.5:
                colour = "white" if value > 60 else "#111111"  # not black: it stays on these cells in dark mode
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=9, color=colour)
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("detected")
        axes.set_ylabel("object, % of the row")
        axes.set_title(title)
    return figure
