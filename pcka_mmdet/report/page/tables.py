"""The tables of the page."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import print_log

from pcka_mmdet.configuration.complexity import complexity_in_test
from pcka_mmdet.configuration.detector import model_config
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.nested import leaves

from ..run import Run
from ..scalars import median_step, training_records, training_seconds
from .charts import TITLES, Curves
from .scores import Score, Scores
from .words import TEACHER, Sides, interval, rounded, short, titles


@dataclass(frozen=True)
class Table:
    """Cells of a table; the first of each row is its name."""

    caption: str
    header: list[str]
    rows: list[list[str]]

    def filled(self) -> "Table":
        """The same without columns that are empty in all rows."""
        kept = [0] + [i for i in range(1, len(self.header)) if any(row[i] for row in self.rows)]
        rows = [[row[i] for i in kept] for row in self.rows]
        return Table(self.caption, [self.header[i] for i in kept], rows)


def results(sides: Sides, everyone: Sides, scores: Scores) -> Table:
    """AP of each training, the teacher's too; the means over seeds where there are several; and the difference."""
    whole = list(zip(sides.items(), scores.whole.sides, strict=True))
    alone = {runs[0].folder: found for (_, runs), found in whole if len(runs) == 1}
    if scores.teacher is not None:
        alone[everyone[TEACHER][0].folder] = scores.teacher
    rows = []
    for name, run in titles(everyone).items():
        found = alone.get(run.folder)
        over = [interval(found, "{:.3f}"), "test images"] if found else ["", ""]
        rows.append([name, f"{run.average_precision:.3f}", *over])
    several = f"{'seeds' if scores.by_seed else 'trainings'} and test images"
    rows += [
        [f"{short(name)}, mean", f"{found.value:.3f}", interval(found, "{:.3f}"), several]
        for (name, runs), found in whole
        if len(runs) > 1
    ]
    if difference := scores.whole.difference:
        rows.append(["difference", f"{rounded(difference.value):+.3f}", interval(difference), scores.over])
    return Table("AP on the test images", ["", "AP", "95 % interval", "over"], rows)


def by_class(sides: Sides, scores: Scores) -> Table:
    """AP and difference of each class and size."""
    header = [
        "",
        *map(short, sides),
        *(["difference"] if scores.whole.difference else []),
        f"95 % interval over {scores.over}",
    ]
    return Table(
        "AP by class and by size of the objects", header, [_by_side(s) for s in (*scores.classes, *scores.sizes)]
    )


def _by_side(score: Score) -> list[str]:
    values = [f"{found.value:.3f}" for found in score.sides]
    if score.difference is None:
        return [score.name, *values, interval(score.shown, "{:.3f}")]
    return [score.name, *values, f"{rounded(score.difference.value):+.3f}", interval(score.difference)]


def ends(sides: Sides, curves: Mapping[str, Curves]) -> Table:
    """The last value of each curve, and the best AP on val with its epoch."""
    columns = [[f"{ys[-1]:.3f}" if ys else "" for side in kind.values() for _, ys in side] for kind in curves.values()]
    found = [curve for side in curves.get("precision", {}).values() for curve in side]
    columns.append([f"{max(ys):.3f} at {xs[ys.index(max(ys))]:g}" if ys else "" for xs, ys in found])
    rows = [list(row) for row in zip(titles(sides), *filter(None, columns), strict=True)]
    header = ["", *(TITLES[name] for name in curves), *(["best AP on val"] if found else [])]
    return Table("Where the curves end", header, rows).filled()


def confusions(name: str, matrix: np.ndarray, classes: Sequence[str]) -> Table:
    """What a confusion matrix says of each class, in percent of its row; see `confusion.confusion_matrix`."""
    rows = []
    for number, label in enumerate(classes):
        percent = 100 * matrix[number] / max(matrix[number].sum(), 1)
        others = np.where(np.arange(len(classes)) == number, 0, percent[:-1])
        most = int(others.argmax())
        taken = f"{classes[most]}, {others[most]:.0f} %" if others[most] > 0 else "none"
        found = f"{percent[number]:.0f} %", f"{percent[-1]:.0f} %", taken
        rows.append([label, *found, str(matrix[-1, number])])
    header = ["object", "found", "missed", "most often taken for", "detections where nothing is"]
    return Table(f"What the matrix says: {short(name)}", header, rows)


def costs(runs: Mapping[str, Run]) -> Table:
    """Size, time and memory of each training; without what no log tells, such as a CPU's memory."""
    header = ["", "parameters", "MMACs", "seconds a step", "memory, MB", "epochs", "hours of training"]
    return Table("What the trainings cost", header, [[name, *_cost(run)] for name, run in runs.items()]).filled()


def differences(names: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> Table:
    """Settings in which two configs differ, none for a single one; the model is the student's on both sides, and the
    rest of a distillation's model comes besides."""
    sides = [leaves(_student_first(config)) for config in configs]
    keys = dict.fromkeys(key for side in sides for key in side)
    rows = [[key, *(repr(side[key]) if key in side else "" for side in sides)] for key in keys]
    kept = [row for row in rows if row[1] != row[-1] and row[0] not in ("work_dir", "timestamp")]
    return Table("Settings that differ", ["setting", *map(short, names)], kept)


def _student_first(config: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(config)
    if is_distillation(config):
        model = dict(config["model"])
        student = model_config(model.pop("architecture"))
        config["model"], config["distillation"] = student.to_dict(), model
    config["model"] = {key: value for key, value in config["model"].items() if key != "_scope_"}
    return config


def _cost(run: Run) -> list[str]:
    records = training_records(run.records)
    memory = [record["memory"] for record in records if "memory" in record]
    cells = _counts(run)
    if not records:
        return [*cells, "", "", "", ""]
    step = median_step(records)
    seconds = training_seconds(run.records, records[-1]["iter"])
    return [
        *cells,
        f"{step:.3f}" if step else "",
        f"{max(memory):.0f}" if memory else "",
        str(records[-1].get("epoch", "")),
        f"{seconds / 3600:.2f}" if step else "",
    ]


def _counts(run: Run) -> list[str]:
    """Parameters and multiply-adds; empty for a detector whose forward MMEngine cannot follow."""
    try:
        counts = complexity_in_test(run.config)
    except Exception as error:  # of the detector's own code, whatever it is
        print_log(f"multiply-adds of {str(run.folder)!r} are not counted: {error}", "current", logging.WARNING)
        return ["", ""]
    return [f"{counts['parameters'] / 1e6:.2f} M", f"{counts['flops'] / 1e6:.0f}"]
