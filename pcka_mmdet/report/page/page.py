"""The page: `report.html`, and its charts as PNG files beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcka_mmdet.configuration.installed import releases

from ..bootstrap import SAMPLES
from ..confusion import confusion_figure, confusion_matrix
from ..run import Run, check_same_data
from . import changes, charts, tables
from .scores import Scores, score, with_partners
from .words import TEACHER, Sides, apart, headline, judge, named, notes, short, title, titles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 100
"""More are not drawn as confusion matrices."""


def write_page(plain: Sequence[Run], distilled: Sequence[Run], teacher: Run | None, out: Path) -> str:
    """Compare distilled students with plain ones, and write the page.

    Args:
        plain: The baseline: trainings of the student alone, one for each seed. Without any, the page is about
            `distilled` alone.
        distilled: Distillations.
        teacher: The teacher's training.
        out: The HTML file. The charts are written beside it, as `STEM_NAME.png`.

    Returns:
        The result in a few sentences.

    Raises:
        ValueError: The test images hold no object; see also `check_same_data`.
    """
    import jinja2

    sides = named(plain, distilled)
    paired, alone = with_partners(list(sides.values()))
    sides = dict(zip(sides, paired, strict=True))
    check_same_data([*distilled, *plain, *([] if teacher is None else [teacher])])
    scores = score(paired, teacher)
    if not np.isfinite(scores.whole.shown.value):
        raise ValueError("the test images hold no object of these classes: without one there is no AP to report")
    told = " ".join([headline(sides, scores), *notes(sides, alone)])
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    out.write_text(template.render(_content(sides, teacher, scores, told, out)))
    return " ".join(filter(None, [told, judge(sides, scores)[0]]))


def _content(sides: Sides, teacher: Run | None, scores: Scores, told: str, out: Path) -> dict[str, Any]:
    """What the template shows. The charts are written as PNG on the way."""

    def chart(name: str, figure: "Figure", label: str) -> str:
        figure.savefig(out.with_name(f"{out.stem}_{name}.png"), dpi=128, bbox_inches="tight")
        return charts.svg(figure, label)

    everyone = sides if teacher is None else {TEACHER: [teacher], **sides}
    runs, first = titles(everyone), {name: runs[0] for name, runs in sides.items()}
    last = list(first.values())[-1]
    verdict, kind = judge(sides, scores)
    drawn = apart(everyone)
    curves, unit = charts.along(drawn)
    what = "AP" if scores.whole.difference is None else "difference of AP"
    parts = {"classes": (scores.classes, f"{what} by class"), "sizes": (scores.sizes, f"{what} by size")}
    matrices = {
        name: confusion_matrix(run.truth, run.detections, len(run.classes))
        for name, run in first.items()
        if len(last.classes) <= MOST_CLASSES
    }
    return dict(
        title=title(sides),
        headline=told,
        verdict=verdict,
        verdict_class=kind,
        images=scores.images,
        which=last.which,
        results=tables.results(sides, everyone, scores),
        curves=[chart(name, charts.lines(name, found, unit), charts.TITLES[name]) for name, found in curves.items()],
        similarity="similarity" in curves,
        ends=tables.ends(drawn, curves),
        parts=[chart(name, charts.intervals(*part), part[1]) for name, part in parts.items()],
        compared=len(sides) > 1,
        samples=SAMPLES,
        over=scores.over,
        several=any(len(side) > 1 for side in sides.values()),
        by_class=tables.by_class(sides, scores),
        confusion=[
            chart(
                f"confusion{number}",
                confusion_figure({short(name): matrix}, last.classes),
                f"confusion matrix: {short(name)}",
            )
            for number, (name, matrix) in enumerate(matrices.items(), start=1)
        ],
        confusions=[tables.confusions(name, matrix, last.classes) for name, matrix in matrices.items()],
        sides=[short(name) for name in sides],
        teacher=teacher is not None,
        threshold=changes.THRESHOLD,
        pictures=_pictures(list(first.values()), teacher),
        costs=tables.costs(runs),
        commands=[(name, run.command) for name, run in runs.items() if run.command],
        versions=_versions(runs),
        differences=tables.differences(list(first), [run.config.to_dict() for run in first.values()]),
    )


def _pictures(runs: Sequence[Run], teacher: Run | None) -> dict[str, list[tuple[changes.Change, list[str]]]]:
    """Images with boxes by heading, one picture for each run."""
    better, worse = changes.largest(runs)
    groups = {"Largest gain": better, "Largest loss": worse} if len(runs) > 1 else {"Most errors": worse}
    return {
        heading: [(change, changes.draw(runs, change, teacher)) for change in found]
        for heading, found in groups.items()
    }


def _versions(runs: Mapping[str, Run]) -> list[str]:
    """Sentences: what the trainings ran on, as far as their logs say, and what the report ran on."""
    found: dict[str, list[str]] = {}
    for name, run in runs.items():
        told = f"Trained with {run.versions}" if run.versions else "The log tells no versions"
        found.setdefault(told, []).append(name)
    return [*(f"{told}: {', '.join(names)}." for told, names in found.items()), f"Report written with {releases()}."]
