"""The page: `report.html`, and its figures as PNG files beside it."""

import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from pcka_mmdet.configuration.detector import is_distillation, model_config, padded_size

from ..bootstrap import Estimate
from ..complexity import complexity
from ..confusion import confusion_figure, confusion_matrix
from ..scalars import training_records, training_seconds
from . import charts
from .changes import draw, largest
from .gains import Gain, Gains, compare
from .run import Run

MOST_CLASSES = 100
"""More are not drawn as confusion matrices."""

PACKAGES = ("pcka_mmdet", "torch", "mmengine", "mmcv", "mmdet", "mmrazor")


@dataclass(frozen=True)
class Table:
    """Cells of a table; the first of each row is its name."""

    header: list[str]
    rows: list[list[str]]


def write_page(plain: Sequence[Run], distilled: Sequence[Run], teacher: Run | None, out: Path) -> Gains:
    """Compare distilled students with plain ones, and write the page.

    Args:
        plain: Trainings of the student alone, one for each seed.
        distilled: Distillations.
        teacher: The teacher's training.
        out: The HTML file. The figures are written beside it, as `STEM_NAME.png`.

    Raises:
        ValueError: See `compare`.
    """
    import jinja2

    gains = compare(plain, distilled)
    runs = _named(plain, distilled, teacher)
    figures = {
        "curves": (charts.curves(runs), "AP, loss and CKA along the trainings"),
        "classes": (charts.intervals(gains.classes, "difference of AP by class"), "difference of AP by class"),
        "sizes": (charts.intervals(gains.sizes, "difference of AP by size"), "difference of AP by size of the objects"),
    }
    if len(distilled[0].classes) <= MOST_CLASSES:
        matrices = {
            name: confusion_matrix(run.truth, run.detections, len(run.classes))
            for name, run in (("student", plain[0]), ("distilled", distilled[0]))
        }
        figures["confusion"] = confusion_figure(matrices, distilled[0].classes), "confusion matrices"
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, (figure, _) in figures.items():
        figure.savefig(out.with_name(f"{out.stem}_{name}.png"), dpi=128)
    better, worse = largest(plain[0], distilled[0])
    drawn = {name: charts.svg(*figure) for name, figure in figures.items()}
    verdict, kind = judge(gains.whole.difference)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(Path(__file__).with_name("page.html").read_text()).render(
        title="What distillation did",
        headline=headline(gains, teacher, len(distilled)),
        verdict=verdict,
        verdict_class=kind,
        images=len(distilled[0].matches.images),
        results=_results(runs, gains),
        curves=drawn["curves"],
        gains=[drawn["classes"], drawn["sizes"]],
        by_class=_by_class(gains),
        confusion=drawn.get("confusion"),
        pictures=[
            dict(title="Largest gain", key="g", changes=[(c, draw(plain[0], distilled[0], c)) for c in better]),
            dict(title="Largest loss", key="l", changes=[(c, draw(plain[0], distilled[0], c)) for c in worse]),
        ],
        costs=_costs(runs),
        commands=[(name, run.command) for name, run in runs.items() if run.command],
        versions=", ".join(_versions()),
        differences=differences(plain[0].config.to_dict(), distilled[0].config.to_dict()),
    )
    out.write_text(page)
    return gains


def headline(gains: Gains, teacher: Run | None, seeds: int) -> str:
    """The result in one sentence or two."""
    whole, over = gains.whole, f", the mean over {seeds} seeds" if seeds > 1 else ""
    text = (
        f"The distilled student reaches AP {whole.distilled.value:.3f}{over}, the student alone "
        f"{whole.plain.value:.3f}: {whole.difference.value:+.3f} ({_range(whole.difference)} over samples of the images"
    )
    if gains.seeds is not None:
        over = "seeds" if gains.by_seed else "trainings, paired in the order given since their configs set no seeds"
        text += f", {gains.seeds.low:+.3f} to {gains.seeds.high:+.3f} over {over}"
    text += ")."
    return text if teacher is None else f"{text} The teacher reaches {teacher.average_precision:.3f}."


def judge(difference: Estimate) -> tuple[str, str]:
    """What the difference means, and the class of the text's colour."""
    if difference.low > 0:
        return "Distillation helped: the gain is larger than chance among these images explains.", "good"
    if difference.high < 0:
        return "Distillation did harm: the loss is larger than chance among these images explains.", "bad"
    return "No clear difference: these images allow for a gain as well as for a loss.", "note"


def differences(plain: Mapping[str, Any], distilled: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Settings in which two configs differ; the model is the student's on both sides, and the rest of a distillation's
    model comes besides."""
    sides = [dict(_flat(_student_first(config))) for config in (plain, distilled)]
    keys = dict.fromkeys([*sides[0], *sides[1]])
    rows = [(key, *(repr(side[key]) if key in side else "" for side in sides)) for key in keys]
    return [row for row in rows if row[1] != row[2] and row[0] not in ("work_dir", "timestamp")]


def _student_first(config: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(config)
    if is_distillation(config):
        model = dict(config["model"])
        student = model_config(model.pop("architecture"))
        config["model"], config["distillation"] = student.to_dict(), model
    config["model"] = {key: value for key, value in config["model"].items() if key != "_scope_"}
    return config


def _flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _named(plain: Sequence[Run], distilled: Sequence[Run], teacher: Run | None) -> dict[str, Run]:
    groups = {"student": plain, "distilled": distilled}
    named = {} if teacher is None else {"teacher": teacher}
    for name, runs in groups.items():
        for number, run in enumerate(runs, start=1):
            which = f"training {number}" if run.seed is None else f"seed {run.seed}"
            title = name if len(runs) == 1 else f"{name}, {which}"
            named[title if title not in named else f"{title} ({run.folder})"] = run
    return named


def _results(runs: Mapping[str, Run], gains: Gains) -> Table:
    """AP of each run; the means over seeds where there are several; and the difference."""
    means = {"student": gains.whole.plain, "distilled": gains.whole.distilled}
    rows = [
        [name, f"{run.average_precision:.3f}", _range(means.pop(name), "{:.3f}") if name in means else ""]
        for name, run in runs.items()
    ]
    rows += [[f"{name}, mean", f"{found.value:.3f}", _range(found, "{:.3f}")] for name, found in means.items()]
    rows.append(["difference", f"{gains.whole.difference.value:+.3f}", _range(gains.whole.difference)])
    return Table(["", "AP", "95 % interval over images"], rows)


def _by_class(gains: Gains) -> Table:
    rows = [_row(gain) for gain in (*gains.classes, *gains.sizes)]
    return Table(["", "student", "distilled", "difference", "95 % interval"], rows)


def _row(gain: Gain) -> list[str]:
    values = f"{gain.plain.value:.3f}", f"{gain.distilled.value:.3f}", f"{gain.difference.value:+.3f}"
    return [gain.name, *values, _range(gain.difference)]


def _range(found: Estimate, form: str = "{:+.3f}") -> str:
    return f"{form.format(found.low)} to {form.format(found.high)}"


def _costs(runs: Mapping[str, Run]) -> Table:
    header = ["", "parameters", "MMACs", "seconds a step", "memory, MB", "epochs", "hours of training"]
    return Table(header, [[name, *_cost(run)] for name, run in runs.items()])


def _cost(run: Run) -> list[str]:
    records = training_records(run.records)
    memory = [record["memory"] for record in records if "memory" in record]
    cells = _counts(run)
    if not records:
        return [*cells, "", "", "", ""]
    seconds = training_seconds(run.records, records[-1]["iter"])
    return [
        *cells,
        f"{statistics.median(record['time'] for record in records):.3f}",
        f"{max(memory):.0f}" if memory else "",
        str(records[-1].get("epoch", "")),
        f"{seconds / 3600:.2f}",
    ]


def _counts(run: Run) -> list[str]:
    """Parameters and multiply-adds; empty for a detector whose forward MMEngine cannot follow."""
    try:
        counts = complexity(run.config.model, *(padded_size(run.config, "test_dataloader") or (256, 256)))
    except Exception as error:  # of the detector's own code, whatever it is
        print_log(f"multiply-adds of {str(run.folder)!r} are not counted: {error}", "current", logging.WARNING)
        return ["", ""]
    return [f"{counts['parameters'] / 1e6:.2f} M", f"{counts['flops'] / 1e6:.0f}"]


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
