"""The figures of the page, as inline SVG whose text follows the page's colour."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .. import colours
from ..curves import finish, loss_curve, mean_similarity, precision_curve, smooth
from ..scalars import iterations_per_epoch
from .gains import Gain
from .run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(figure: "Figure", label: str) -> str:
    """A figure as an SVG element.

    Args:
        figure: The figure; its black becomes the page's text colour.
        label: What it shows, for readers that do not see it.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"((?:fill|stroke): ?)(?:#000000|black)\b", r"\1currentColor", text[text.index("<svg") :])
    text = re.sub(r"(<text\b[^>]*style=\")", r"\1fill: currentColor; ", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def curves(runs: Mapping[str, Run]) -> "Figure":
    """AP on val, the task's loss and, where it was logged, the CKA of student and teacher along the trainings."""
    from matplotlib.figure import Figure

    length = {name: iterations_per_epoch(run.records) for name, run in runs.items()}
    unit = "epoch" if all(length.values()) else "iteration"
    similarity = {name: mean_similarity(run.records, length[name] or 1.0) for name, run in runs.items()}
    similarity = {name: curve for name, curve in similarity.items() if curve}
    figure = Figure(figsize=(9.6 if similarity else 6.4, 3.2), layout="constrained")
    axes = figure.subplots(1, 3 if similarity else 2)
    for (name, run), colour in zip(runs.items(), colours.LEVELS * len(runs), strict=False):
        style = dict(color=_colour(name, colour), lw=2, label=name)
        axes[0].plot(*precision_curve(run.records), marker="o", ms=4, **style)
        axes[1].plot(*smooth(loss_curve(run.records, length[name] or 1.0)), **style)
        if name in similarity:
            axes[2].plot(*smooth(similarity[name]), **style)
    titles = "AP on the val split", "detection loss (training)", "CKA of student and teacher"
    for place, title in zip(axes, titles, strict=False):
        finish(place, title, unit)
    return figure


def intervals(gains: Sequence[Gain], title: str) -> "Figure":
    """The differences of AP with their intervals, one below the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 1.0 + 0.28 * len(gains)), layout="constrained")
    axes = figure.subplots()
    for place, gain in enumerate(gains):
        found = gain.difference
        reach = [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]
        colour = colours.METHODS["distilled" if found.value >= 0 else "student"]
        axes.errorbar(found.value, place, xerr=reach, fmt="o", color=colour, capsize=3)
    axes.axvline(0, color="black", lw=1, ls=":")
    axes.set_yticks(range(len(gains)), [gain.name for gain in gains])
    axes.invert_yaxis()
    axes.set_title(title, fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _colour(name: str, other: str) -> str:
    return colours.METHODS.get(name.partition(",")[0], other)
