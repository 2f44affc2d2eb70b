"""The charts of the page, as inline SVG whose text follows the page's colour.

Each fits a phone's screen in its natural size, inches of 96 pixels, and is not made smaller: its text stays readable.
"""

import io
import re
import textwrap
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .. import theme
from ..curves import Curve, finish, loss_curve, mean_similarity, precision_curve, smooth
from ..scalars import iterations_per_epoch
from .scores import Score
from .words import TEACHER, Sides, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 3.4
"""Inches."""

TITLES = {
    "precision": "AP on the val split",
    "loss": "detection loss (training)",
    "similarity": "CKA of student and teacher",
}
"""Curves along a training, by the name of their file."""

Curves = dict[str, list[Curve]]
"""By side, one for each training; empty where nothing was logged."""

LETTERS = 24
"""Longest line of a legend."""

_SIDES = (theme.METHOD_COLOURS["distilled"], theme.METHOD_COLOURS["student"], *theme.LEVEL_COLOURS)
"""Colours of the side that the page is about, of its baseline, and of others before it."""


def svg(figure: "Figure", label: str) -> str:
    """A figure as an SVG element.

    Args:
        figure: The figure; its black becomes the page's text colour.
        label: What it shows, for readers that do not see it.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", bbox_inches="tight", pad_inches=0.02, transparent=True, metadata={"Date": None}
        )
    text = buffer.getvalue()
    text = re.sub(r"((?:fill|stroke): ?)(?:#000000|black)\b", r"\1currentColor", text[text.index("<svg") :])
    text = re.sub(r"(<text\b[^>]*style=\")", r"\1fill: currentColor; ", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)


def along(sides: Sides) -> tuple[dict[str, Curves], str]:
    """AP on val, the task's loss and the CKA of student and teacher along the trainings.

    Returns:
        Curves as in `TITLES`, without those that no training logged; and their unit, `'epoch'`, or `'iteration'` if not
        all trainings count epochs.
    """
    found: dict[str, Curves] = {kind: {name: [] for name in sides} for kind in TITLES}
    logs = [(name, run.records) for name, runs in sides.items() for run in runs]
    lengths = [iterations_per_epoch(records) for _, records in logs]
    by_epoch = all(length for length, (_, records) in zip(lengths, logs, strict=True) if records)
    for (name, records), of_epoch in zip(logs, lengths, strict=True):
        length = of_epoch if by_epoch and of_epoch else 1.0
        xs, ys = precision_curve(records)
        found["precision"][name].append((xs if by_epoch else [x * (of_epoch or 1) for x in xs], ys))
        found["loss"][name].append(smooth(loss_curve(records, length)))
        found["similarity"][name].append(smooth(mean_similarity(records, length) or ([], [])))
    logged = {kind: curves for kind, curves in found.items() if any(xs for side in curves.values() for xs, _ in side)}
    return logged, "epoch" if by_epoch else "iteration"


def lines(kind: str, curves: Curves, unit: str) -> "Figure":
    """Curves of one kind of `TITLES`, in the colours of their sides."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    colour = dict(zip([name for name in reversed(curves) if name != TEACHER], _SIDES, strict=False))
    for name, side in curves.items():
        label = textwrap.fill(short(name), LETTERS)
        for number, (xs, ys) in enumerate(curve for curve in side if curve[0]):
            drawn = colour.get(name, theme.METHOD_COLOURS["teacher"])
            style = dict(marker="o", ms=4) if kind == "precision" or len(xs) == 1 else {}  # one point makes no line
            axes.plot(xs, ys, lw=2, color=drawn, label=None if number else label, **style)
    finish(axes, TITLES[kind], unit)
    return figure


def intervals(scores: Sequence[Score], title: str) -> "Figure":
    """The differences of AP, or the AP of a single side, with their intervals, one below the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.0 + 0.28 * len(scores)), layout="constrained")
    axes = figure.subplots()
    for place, score in enumerate(scores):
        found = score.shown
        reach = [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]
        colour = theme.METHOD_COLOURS["distilled" if found.value >= 0 else "student"]
        axes.errorbar(found.value, place, xerr=reach, fmt="o", color=colour, capsize=3)
        if score.difference:
            axes.axvline(0, color="black", lw=1, ls=":")
    axes.set_yticks(range(len(scores)), [score.name for score in scores])
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_title(title, fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
