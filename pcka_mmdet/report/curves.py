"""Curves along trainings: AP on val, detection loss, similarity of student and teacher."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from pcka_mmdet.configuration.data_set import METRIC

from .scalars import iterations_per_epoch, training_records, validation_records

TITLES = {
    "precision": "AP on the val split",
    "loss": "detection loss (training)",
    "similarity": "CKA of student and teacher",
}

TASK_LOSS = re.compile(r"(?!loss$|distill\.)[\w.]*loss\w*")
"""Names of the task's losses: all that MMEngine sums, without its total and the distillation's."""

SIMILARITIES = (re.compile(r"similarity\.cka_s\d+"), re.compile(r"similarity\.[pr]cka(?:_\w+?)?_s\d+"))
"""Names of the neck maps' CKA, which each distillation logs; and of the CKA that losses optimise."""

LETTERS = 24  # longest line of a legend

Curve = tuple[list[float], list[float]]
Curves = dict[str, list[Curve]]
"""By name, one for each training; empty where nothing was logged."""


def along(logs: Mapping[str, Sequence[Sequence[dict]]]) -> tuple[dict[str, Curves], str]:
    """Curves of `TITLES`, without those that no training logged; and their unit.

    The unit is `'epoch'`, or `'iteration'` if a training does not count epochs. `logs` has, by name, the records of one
    or several trainings.
    """
    lengths = [iterations_per_epoch(records) for trainings in logs.values() for records in trainings if records]
    by_epoch = all(lengths)
    curves: dict[str, Curves] = {kind: {name: [] for name in logs} for kind in TITLES}
    for name, trainings in logs.items():
        for records in trainings:
            length = iterations_per_epoch(records) or 1.0
            epochs, precision = precision_curve(records)
            unit = length if by_epoch else 1.0
            curves["precision"][name].append((epochs if by_epoch else [x * length for x in epochs], precision))
            curves["loss"][name].append(smooth(loss_curve(records, unit)))
            curves["similarity"][name].append(smooth(similarity_curve(records, unit)))
    logged = {kind: drawn for kind, drawn in curves.items() if any(xs for side in drawn.values() for xs, _ in side)}
    return logged, "epoch" if by_epoch else "iteration"


def draw(axes: Axes, kind: str, curves: Curves, unit: str, colours: Mapping[str, str]) -> None:
    """Draw curves of one kind of `TITLES`; `colours` are by name."""
    for name, side in curves.items():
        for number, (xs, ys) in enumerate(curve for curve in side if curve[0]):
            style = dict(marker="o", ms=4) if kind == "precision" or len(xs) == 1 else {}  # one point makes no line
            label = None if number else textwrap.fill(name, LETTERS)
            axes.plot(xs, ys, lw=2, color=colours[name], label=label, **style)
    axes.set_title(TITLES[kind], fontsize=11)
    axes.set_xlabel(unit)
    axes.set_xlim(left=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=9)


def precision_curve(records: Sequence[dict]) -> Curve:
    """Epochs and AP on val."""
    values = {epoch: values[METRIC] for epoch, values in validation_records(records).items() if METRIC in values}
    return list(values), list(values.values())


def loss_curve(records: Sequence[dict], iterations: float) -> Curve:
    """Epochs of so many iterations, and the sum of the detection losses without the distillation's."""
    train = training_records(records)
    losses = [sum(value for key, value in record.items() if TASK_LOSS.fullmatch(key)) for record in train]
    return [record["iter"] / iterations for record in train], losses


def similarity_curve(records: Sequence[dict], iterations: float) -> Curve:
    """Epochs and CKA of the neck maps, the mean over levels; of what a loss optimises where that was not logged."""
    train = training_records(records)
    names = {name for record in train for name in record}
    logged: set[str] = next(filter(None, ({*filter(kind.fullmatch, names)} for kind in SIMILARITIES)), set())
    by_epoch: dict[float, list[float]] = defaultdict(list)
    last: dict[str, float] = {}
    for record in train:
        for name, value in record.items():
            if name in logged and value != last.get(name):  # MMEngine repeats the last value until the next one
                last[name] = value
                by_epoch[record["iter"] / iterations].append(value)
    return list(by_epoch), [sum(values) / len(values) for values in by_epoch.values()]


def smooth(curve: Curve) -> Curve:
    """Moving average over 3 % of the curve."""
    xs, ys = curve
    reach = max(1, round(len(ys) * 0.03 / 2)) if len(ys) > 10 else 0
    windows = [ys[max(0, i - reach) : i + reach + 1] for i in range(len(ys))]
    return xs, [sum(window) / len(window) for window in windows]
