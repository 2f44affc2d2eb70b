"""Which classes a classifier takes for similar: correlations of its logits, and how close two classifiers are in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor


def class_similarity(logits: Tensor) -> Tensor:
    """Correlation of the logits of two classes over samples.

    Args:
        logits: Logits `(N, K)`.

    Returns:
        Correlations `(K, K)`.
    """
    return torch.corrcoef(logits.double().T)


def plot_logit_similarity(
    logits: Mapping[str, Tensor], teacher: str, classes: Sequence[str], path: Path
) -> dict[str, float]:
    """Draw the matrices of all models side by side, and below each its difference to the teacher's.

    Args:
        logits: Logits `(N, K)` of the same samples, by model.
        teacher: The model that the others are compared with.
        classes: Class names.
        path: File of the plot.

    Returns:
        Root mean squared difference to the teacher's matrix, by model.
    """
    from matplotlib.figure import Figure

    matrices = {name: class_similarity(values) for name, values in logits.items()}
    distances = {name: (matrix - matrices[teacher]).square().mean().sqrt().item() for name, matrix in matrices.items()}
    figure = Figure(figsize=(3.2 * len(matrices), 6.8), layout="constrained")
    grid = figure.subplots(2, len(matrices), squeeze=False)
    for (upper, lower), (name, matrix) in zip(grid.T, matrices.items(), strict=True):
        titles = name, f"difference to the {teacher}\n(root mean square {distances[name]:.3f})"
        for axes, values, title in zip((upper, lower), (matrix, matrix - matrices[teacher]), titles, strict=True):
            image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)  # larger differences have the last colour
            axes.set_xticks(range(len(classes)), classes)
            axes.set_yticks(range(len(classes)), classes)
            axes.set_title(title, fontsize=10)
        lower.set_visible(name != teacher)
    figure.colorbar(image, ax=figure.axes, shrink=0.7, label="correlation of logits, and its difference", extend="both")
    figure.savefig(path, dpi=150)
    return distances
