"""Curves along trainings: AP on val, detection loss, similarity to the teacher; and a plot of AP and similarity."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pcka_mmdet.configuration.data_set import METRIC

from . import theme
from .scalars import training_records, validation_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TASK_LOSS = re.compile(r"(?!loss$|distill\.)[\w.]*loss\w*")
"""Names of the task's losses: all that MMEngine sums, without its total and the distillation's."""
_SIMILARITIES = [
    re.compile(pattern) for pattern in (r"similarity\.cka_s(\d+)", r"similarity\.[pr]cka(?:_\w+?)?_s(\d+)")
]
"""Names of the neck maps' CKA, which `tools/train.py` logs of any distillation; and of the CKA that losses optimise."""
Curve = tuple[list[float], list[float]]


def plot_similarity(logs: Mapping[str, Sequence[dict]], iterations: Mapping[str, float], path: Path) -> None:
    """Draw AP and, beside it, the mean CKA over levels of several distillations (as in the paper's appendix).

    Args:
        logs: Records by name of the run, see `read_scalars`.
        iterations: Iterations per epoch, by name.
        path: File of the plot.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, records), colour in zip(logs.items(), theme.LEVEL_COLOURS * len(logs), strict=False):
        epochs, precision = precision_curve(records)
        left.plot(epochs, precision, marker="o", ms=4, lw=2, color=colour, label=name)
        if curve := mean_similarity(records, iterations[name]):
            right.plot(*smooth(curve), lw=2, color=colour, label=name)
    finish(left, "AP on the val split")
    left.set_ylim(bottom=0)
    finish(right, "CKA of student and teacher, mean over levels")
    figure.savefig(path, dpi=150)


def mean_similarity(records: Sequence[dict], iterations: float) -> Curve | None:
    """Epochs and the mean of the similarities over levels; `None` if none was logged."""
    curves = similarity_curves(records, iterations).values()
    by_epoch: dict[float, list[float]] = {}
    for epochs, values in curves:
        for epoch, value in zip(epochs, values, strict=True):
            by_epoch.setdefault(epoch, []).append(value)
    if not by_epoch:
        return None
    return list(by_epoch), [sum(values) / len(values) for values in by_epoch.values()]


def precision_curve(records: Sequence[dict]) -> Curve:
    """Epochs and AP on val."""
    found = {epoch: values[METRIC] for epoch, values in validation_records(records).items() if METRIC in values}
    return list(found), list(found.values())


def loss_curve(records: Sequence[dict], iterations: float) -> Curve:
    """Epochs and the sum of the detection losses, without distillation losses, so that curves are comparable."""
    train = training_records(records)
    losses = [sum(value for key, value in record.items() if _TASK_LOSS.fullmatch(key)) for record in train]
    return [record["iter"] / iterations for record in train], losses


def similarity_curves(records: Sequence[dict], iterations: float) -> dict[int, Curve]:
    """Epochs and CKA of the neck maps by stride; of what a loss optimises where it was not logged."""
    curves: dict[int, Curve] = {}
    train = training_records(records)
    logged = [pattern for pattern in _SIMILARITIES if any(map(pattern.fullmatch, (k for r in train for k in r)))]
    for record in train:
        for key, value in record.items():
            if logged and (match := logged[0].fullmatch(key)):
                epochs, values = curves.setdefault(int(match[1]), ([], []))
                if values and value == values[-1]:
                    continue  # MMEngine repeats the last value until the next one
                epochs.append(record["iter"] / iterations)
                values.append(value)
    return dict(sorted(curves.items()))


def smooth(curve: Curve) -> Curve:
    """Moving average over 3 % of the curve."""
    xs, ys = curve
    reach = max(1, round(len(ys) * 0.03 / 2)) if len(ys) > 10 else 0
    windows = [ys[max(0, i - reach) : i + reach + 1] for i in range(len(ys))]
    return xs, [sum(window) / len(window) for window in windows]


def finish(axes: "Axes", title: str, unit: str = "epoch") -> None:
    """Title, grid and legend of curves along a training, whose x is in `unit`."""
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(unit)
    axes.set_xlim(left=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
