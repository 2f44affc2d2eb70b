"""The page: `report.html`, and its charts as PNG files beside it."""

import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from pcka_mmdet.configuration.installed import releases

from .. import theme
from ..curves import TITLES, Curves, along, draw
from ..pictures import confusion_figure, confusion_matrix
from ..run import Run, check_same_data
from . import changes, tables
from .scores import SAMPLES, Score, score, with_partners
from .words import TEACHER, apart, headline, judge, named, notes, short, title, titles

MOST_CLASSES = 100  # of a confusion matrix that is drawn
WIDTH = 3.4  # inches of 96 pixels: a chart fits a phone's screen in its natural size, with readable text


def write_page(plain: Sequence[Run], distilled: Sequence[Run], teacher: Run | None, out: Path) -> str:
    """Compare distilled students with plain ones, and write the page. Return the result in a few sentences.

    Args:
        plain: The baseline, a training of the student alone for each seed. May be empty.
        distilled: Distillations, one for each seed.
        teacher: The teacher's training.
        out: The HTML file. The charts are written beside it, as `STEM_NAME.png`.

    Raises:
        ValueError: The test images hold no object; see also `check_same_data`.
    """
    sides, unpaired = with_partners(named(plain, distilled))
    check_same_data([*distilled, *plain, *([] if teacher is None else [teacher])])
    scores = score(list(sides.values()), teacher)
    if not np.isfinite(scores.whole.shown.value):
        raise ValueError("the test images hold no object of these classes: without one there is no AP to report")
    result, verdict = " ".join([headline(sides, scores), *notes(sides, unpaired)]), judge(sides, scores)
    out.parent.mkdir(parents=True, exist_ok=True)

    def chart(name: str, figure: Figure, label: str) -> str:
        figure.savefig(out.with_name(f"{out.stem}_{name}.png"), dpi=128, bbox_inches="tight")
        return svg(figure, label)

    everyone = sides if teacher is None else {TEACHER: [teacher], **sides}
    first = {short(name): side[0] for name, side in sides.items()}
    classes = next(iter(first.values())).matches.classes
    of_curves = apart(everyone)
    curves, unit = along({name: [run.records for run in side] for name, side in of_curves.items()})
    what = "AP" if scores.whole.difference is None else "difference of AP"
    matrices = {name: confusion_matrix(run.matches) for name, run in first.items() if len(classes) <= MOST_CLASSES}
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.globals |= dict(photo=changes.photo, tables=tables, theme=theme)
    content = dict(
        title=title(sides),
        result=result,
        verdict=verdict,
        sides=sides,
        everyone=everyone,
        first=first,
        runs=titles(everyone),
        scores=scores,
        samples=SAMPLES,
        curves=curves,
        unit=unit,
        curve_charts=[chart(kind, lines(kind, curves[kind], unit), TITLES[kind]) for kind in curves],
        score_charts=[
            chart("classes", intervals(scores.classes, f"{what} by class"), f"{what} by class"),
            chart("sizes", intervals(scores.sizes, f"{what} by size"), f"{what} by size"),
        ],
        matrices=matrices,
        matrix_charts=[
            chart(f"confusion{number}", confusion_figure({name: matrix}, classes), f"confusion matrix: {name}")
            for number, (name, matrix) in enumerate(matrices.items(), start=1)
        ],
        apart=of_curves,
        classes=classes,
        changes=changes.largest(list(first.values())),
        threshold=changes.THRESHOLD,
        teacher=teacher and teacher.matches.detections(changes.THRESHOLD),
        releases=releases(),
    )
    template = environment.from_string(Path(__file__).with_name("page.html").read_text())
    out.write_text(template.render(content))
    return " ".join(filter(None, [result, verdict[0]]))


def svg(figure: Figure, label: str) -> str:
    """A figure as an SVG element; its black becomes the page's text colour. `label` is for screen readers."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        buffer = io.StringIO()
        options = dict(bbox_inches="tight", pad_inches=0.02, transparent=True, metadata={"Date": None})
        figure.savefig(buffer, format="svg", **options)
    text = buffer.getvalue()
    text = re.sub(r"((?:fill|stroke): ?)(?:#000000|black)\b", r"\1currentColor", text[text.index("<svg") :])
    text = re.sub(r"(<text\b[^>]*style=\")", r"\1fill: currentColor; ", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def lines(kind: str, curves: Curves, unit: str) -> Figure:
    """Curves of one kind of `TITLES`; the last name, which the page is about, has the colour of a distillation."""
    palette = [theme.METHOD_COLOURS["distilled"], theme.METHOD_COLOURS["student"], *theme.LEVEL_COLOURS]
    trained = [name for name in reversed(curves) if name != TEACHER]
    colours = dict(zip(trained, palette * len(curves), strict=False))
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    draw(figure.subplots(), kind, curves, unit, {TEACHER: theme.METHOD_COLOURS["teacher"]} | colours)
    return figure


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
