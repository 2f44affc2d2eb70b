"""The tables of the page."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from pcka_mmdet.checkpoints.resume import differing
from pcka_mmdet.configuration.complexity import complexity_in_test
from pcka_mmdet.configuration.detector import model_config
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.nested import leaves
from pcka_mmdet.configuration.sentence import warn

from ..curves import TITLES, Curves
from ..run import Run
from ..scalars import median_step, training_records, training_seconds
from .scores import SIGNED, Scores, Sides
from .words import TEACHER, short, titles


@dataclass(frozen=True)
class Table:
    """Cells of a table; the first of each row is its name."""

    caption: str
    header: list[str]
    rows: list[list[str]]


def results(sides: Sides, everyone: Sides, scores: Scores) -> Table:
    """AP of each training, the teacher's too; the means over seeds where there are several; and the difference."""
    estimates = dict(zip(sides, scores.whole.sides, strict=True))
    if scores.teacher is not None:
        estimates[TEACHER] = scores.teacher
    rows = []
    for name, runs in everyone.items():
        over = [estimates[name].written()[1], "test images"] if len(runs) == 1 else ["", ""]
        rows += [[title, f"{run.average_precision:.3f}", *over] for title, run in titles({name: runs}).items()]
    for name, runs in sides.items():
        if len(runs) > 1:
            rows.append([f"{short(name)}, mean", *estimates[name].written(), f"{scores.repeats} and test images"])
    if scores.whole.difference:
        rows.append(["difference", *scores.whole.difference.written(SIGNED), scores.over])
    return Table("AP on the test images", ["", "AP", "95 % interval", "over"], rows)


def by_class(sides: Sides, scores: Scores) -> Table:
    """AP of each class and size, and the difference; the interval is that of the last column of values."""
    rows = []
    for score in (*scores.classes, *scores.sizes):
        cells = score.shown.written()
        if score.difference:
            cells = [side.written()[0] for side in score.sides] + score.difference.written(SIGNED)
        rows.append([score.name, *cells])
    difference = ["difference"] if scores.whole.difference else []
    header = ["", *map(short, sides), *difference, f"95 % interval over {scores.over}"]
    return Table("AP by class and by size of the objects", header, rows)


def ends(sides: Sides, curves: Mapping[str, Curves], unit: str) -> Table:
    """The last value of each curve, and the best AP on val with its epoch or iteration."""
    header, rows = [""], [[name] for name in titles(sides)]
    for kind, of_kind in curves.items():
        header.append(TITLES[kind])
        for row, (_, ys) in zip(rows, chain.from_iterable(of_kind.values()), strict=True):
            row.append(f"{ys[-1]:.3f}" if ys else "")
    if "precision" in curves:
        header.append("best AP on val")
        for row, (xs, ys) in zip(rows, chain.from_iterable(curves["precision"].values()), strict=True):
            row.append(f"{max(ys):.3f} at {unit} {xs[ys.index(max(ys))]:g}" if ys else "")
    return Table("Where the curves end", header, rows)


def confusions(name: str, matrix: np.ndarray, classes: Sequence[str]) -> Table:
    """What a confusion matrix says of each class, in percent of its row; see `pictures.confusion_matrix`."""
    rows = []
    for number, label in enumerate(classes):
        percent = 100 * matrix[number] / max(matrix[number].sum(), 1)
        wrong = np.where(np.arange(len(classes)) == number, 0, percent[:-1])
        most = int(wrong.argmax())
        taken = f"{classes[most]}, {wrong[most]:.0f} %" if wrong[most] > 0 else "none"
        rows.append([label, f"{percent[number]:.0f} %", f"{percent[-1]:.0f} %", taken, str(matrix[-1, number])])
    header = ["object", "found", "missed", "most often taken for", "detections where nothing is"]
    return Table(f"What the matrix says: {name}", header, rows)


def costs(runs: Mapping[str, Run]) -> Table:
    """Size, time and memory of each training; without what no log has, such as a CPU's memory."""
    header = ["", "parameters", "MMACs", "seconds a step", "memory, MB", "epochs", "hours of training"]
    rows = [[name, *_cost(run)] for name, run in runs.items()]
    kept = [i for i in range(len(header)) if i == 0 or any(row[i] for row in rows)]
    return Table("What the trainings cost", [header[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _cost(run: Run) -> list[str]:
    parameters = multiply_adds = ""
    try:
        counts = complexity_in_test(run.config)
        parameters, multiply_adds = f"{counts['parameters'] / 1e6:.2f} M", f"{counts['flops'] / 1e6:.0f}"
    except Exception as error:  # of the detector's code, whatever it is
        warn(f"multiply-adds of {str(run.folder)!r} are not counted: {error}")
    records = training_records(run.records)
    if not records:
        return [parameters, multiply_adds, "", "", "", ""]
    memory = [record["memory"] for record in records if "memory" in record]
    step = median_step(records)
    hours = training_seconds(run.records, records[-1]["iter"]) / 3600
    return [
        parameters,
        multiply_adds,
        f"{step:.3f}" if step else "",
        f"{max(memory):.0f}" if memory else "",
        str(records[-1].get("epoch", "")),
        f"{hours:.2f}" if step else "",
    ]


def differences(runs: Mapping[str, Run]) -> Table:
    """Settings in which two trainings differ.

    `model` is the student on both sides; the remaining settings of a distillation's model are `distillation`.
    """
    sides = [leaves(_student_first(run.config.to_dict())) for run in runs.values()]
    keys = [key for key in differing(*sides) if key not in ("work_dir", "timestamp")]
    rows = [[key, *(repr(side[key]) if key in side else "" for side in sides)] for key in keys]
    return Table("Settings that differ", ["setting", *runs], rows)


def _student_first(config: dict[str, Any]) -> dict[str, Any]:
    if is_distillation(config):
        model = dict(config["model"])
        config["model"], config["distillation"] = {"architecture": model.pop("architecture")}, model
        with suppress(FileNotFoundError, ValueError):  # a config file of another machine
            config["model"] = model_config(config["model"]["architecture"]).to_dict()
    config["model"] = {key: value for key, value in config["model"].items() if key != "_scope_"}
    return config
