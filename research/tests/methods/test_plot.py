"""The plot of a comparison of methods."""

import pytest

from research.methods.plot import plot_comparison
from research.tests.test_trials import BETTER, PLAIN, trial
from research.trials import rows


def test_the_plot_shows_every_seed_and_the_plain_students_mean(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (figures.append(self), save(self, *args, **kw)))
    trials = [trial("plain", seed=s, test=ap) for s, ap in PLAIN.items()]
    trials += [trial("a", 0.1, s, test=ap) for s, ap in BETTER.items()]
    found = rows(trials, [("plain", 1.0), ("a", 0.1)], "plain")
    plot_comparison({"short": found, "converged": found[:1]}, "plain", "digits", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    axes = figures[0].axes
    assert [[label.get_text() for label in a.get_yticklabels()] for a in axes] == [
        ["plain (1)", "a (0.1)"],
        ["plain (1)"],
    ]
    seeds = [
        sorted(line.get_xdata()) for line in axes[0].lines if line.get_marker() == "|" and len(line.get_xdata()) > 2
    ]
    assert seeds == [sorted(PLAIN.values()), sorted(BETTER.values())]
    assert any(
        list(line.get_xdata()) == pytest.approx([0.31, 0.31]) and line.get_linestyle() == ":" for line in axes[0].lines
    )
