"""Plot of a comparison of methods: mean AP with its standard deviation, and every seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pcka_mmdet.report import theme
from research.trials import Row


def plot_comparison(regimes: Mapping[str, Sequence[Row]], plain: str, title: str, path: Path) -> None:
    """Draw the rows of each regime side by side.

    Args:
        regimes: Rows by regime; see `trials.rows`.
        plain: The method whose mean is drawn as a line, for the others to be read against.
        title: Title of the figure.
        path: File of the plot.
    """
    from matplotlib.figure import Figure

    most = max(len(rows) for rows in regimes.values())
    figure = Figure(figsize=(5.0 * len(regimes), 1.4 + 0.3 * most), layout="constrained")
    for axes, (regime, rows) in zip(figure.subplots(1, len(regimes), squeeze=False)[0], regimes.items(), strict=True):
        for place, row in enumerate(rows):
            colour = theme.METHOD_COLOURS["student" if row.method == plain else "distilled"]
            axes.errorbar(row.mean, place, xerr=row.deviation, fmt="o", color=colour, capsize=3, ms=5)
            axes.plot(list(row.values.values()), [place] * len(row.values), "|", color=colour, ms=9, alpha=0.6)
            if row.method == plain:
                axes.axvline(row.mean, color=colour, lw=1, ls=":")
        axes.set_yticks(range(len(rows)), [f"{row.method} ({row.setting:g})" for row in rows], fontsize=9)
        axes.invert_yaxis()
        axes.set_title(regime, fontsize=11)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=150)
