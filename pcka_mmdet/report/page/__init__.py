"""The page: `report.html`, and its charts as PNG files beside it."""

import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from pcka_mmdet.configuration.installed import releases

from .. import theme
from ..curves import TITLES, along, draw
from ..pictures import confusion_figure, confusion_matrix
from ..run import Run, check_same_data
from . import changes, tables
from .scores import SAMPLES, Score, Scores, score, with_partners
from .words import TEACHER, Sides, apart, headline, judge, named, notes, short, title, titles

MOST_CLASSES = 100
"""More are not drawn as confusion matrices."""

WIDTH = 3.4
"""Inches of 96 pixels: a chart fits a phone's screen in its natural size, so that its text stays readable."""


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
    sides = named(plain, distilled)
    paired, unpaired = with_partners(list(sides.values()))
    sides = dict(zip(sides, paired, strict=True))
    check_same_data([*distilled, *plain, *([] if teacher is None else [teacher])])
    scores = score(paired, teacher)
    if not np.isfinite(scores.whole.shown.value):
        raise ValueError("the test images hold no object of these classes: without one there is no AP to report")
    result, verdict = " ".join([headline(sides, scores), *notes(sides, unpaired)]), judge(sides, scores)
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.globals |= dict(class_colour=theme.class_colour, text_on=theme.text_on, photo=changes.photo)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    out.write_text(template.render(headline=result, verdict=verdict, **_content(sides, teacher, scores, out)))
    return " ".join(filter(None, [result, verdict[0]]))


def _content(sides: Sides, teacher: Run | None, scores: Scores, out: Path) -> dict[str, Any]:
    """What the template shows. The charts are also written as PNG."""

    def chart(name: str, figure: Figure, label: str) -> str:
        figure.savefig(out.with_name(f"{out.stem}_{name}.png"), dpi=128, bbox_inches="tight")
        return svg(figure, label)

    everyone = sides if teacher is None else {TEACHER: [teacher], **sides}
    runs, first = titles(everyone), {short(name): side[0] for name, side in sides.items()}
    classes = next(iter(first.values())).matches.classes
    drawn = apart(everyone)
    curves, unit = along({short(name): [run.records for run in side] for name, side in drawn.items()})
    trained = [short(name) for name in list(drawn)[::-1] if name != TEACHER]
    palette = [theme.METHOD_COLOURS["distilled"], theme.METHOD_COLOURS["student"], *theme.LEVEL_COLOURS]
    colours = dict(zip(trained, palette * len(drawn), strict=False))
    colours[short(TEACHER)] = theme.METHOD_COLOURS["teacher"]
    curve_charts = []
    for kind, of_kind in curves.items():
        figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
        draw(figure.subplots(), kind, of_kind, unit, colours)
        curve_charts.append(chart(kind, figure, TITLES[kind]))
    what = "AP" if scores.whole.difference is None else "difference of AP"
    confusion = []
    for number, (name, run) in enumerate(first.items() if len(classes) <= MOST_CLASSES else (), start=1):
        matrix = confusion_matrix(run.matches)
        picture = chart(f"confusion{number}", confusion_figure({name: matrix}, classes), f"confusion matrix: {name}")
        confusion.append((picture, tables.confusions(name, matrix, classes)))
    better, worse = changes.largest(list(first.values()))
    return dict(
        title=title(sides),
        sides=first,
        runs=runs,
        scores=scores,
        samples=SAMPLES,
        results=tables.results(sides, everyone, scores),
        curves=curve_charts,
        similarity="similarity" in curves,
        ends=tables.ends(drawn, curves),
        parts=[
            chart("classes", intervals(scores.classes, f"{what} by class"), f"{what} by class"),
            chart("sizes", intervals(scores.sizes, f"{what} by size"), f"{what} by size"),
        ],
        by_class=tables.by_class(sides, scores),
        confusion=confusion,
        threshold=changes.THRESHOLD,
        classes=classes,
        changes={"Largest gain": better, "Largest loss": worse} if len(sides) > 1 else {"Most errors": worse},
        teacher=teacher and teacher.matches.detections(changes.THRESHOLD),
        teacher_colour=theme.METHOD_COLOURS["teacher"],
        costs=tables.costs(runs),
        differences=tables.differences(list(first), [run.config.to_dict() for run in first.values()]),
        releases=releases(),
    )


def svg(figure: Figure, label: str) -> str:
    """A figure as an SVG element, whose text takes the page's colour.

    Args:
        figure: The figure; its black becomes the page's text colour.
        label: What it shows, for screen readers.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        buffer = io.StringIO()
        options = dict(bbox_inches="tight", pad_inches=0.02, transparent=True, metadata={"Date": None})
        figure.savefig(buffer, format="svg", **options)
    text = buffer.getvalue()
    text = re.sub(r"((?:fill|stroke): ?)(?:#000000|black)\b", r"\1currentColor", text[text.index("<svg") :])
    text = re.sub(r"(<text\b[^>]*style=\")", r"\1fill: currentColor; ", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def intervals(scores: Sequence[Score], title: str) -> Figure:
    """The differences of AP, or the AP of a single side, with their intervals, one below the other."""
    figure = Figure(figsize=(WIDTH, 1.0 + 0.28 * len(scores)), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(scores):
        value, low, high = one.shown.value, one.shown.low, one.shown.high
        colour = theme.METHOD_COLOURS["distilled" if value >= 0 else "student"]
        reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
        axes.errorbar(value, place, xerr=reach, fmt="o", color=colour, capsize=3)
        if one.difference:
            axes.axvline(0, color="black", lw=1, ls=":")
    axes.set_yticks(range(len(scores)), [one.name for one in scores])
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_title(title, fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
