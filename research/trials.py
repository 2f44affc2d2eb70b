"""Statistics of trainings that compare methods: choice of a setting on val, then means and intervals on test."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import t as student_t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trial:
    """A training of one method. APs are in [0, 1]."""

    regime: str
    method: str
    setting: float
    seed: int
    val: float
    test: float | None
    """`None` where the setting was still to be chosen."""
    seconds: float
    """Time of the training, beside whatever else ran; `research/costs/cost.py` measures costs."""


@dataclass(frozen=True)
class Row:
    """A method's results in one regime, over seeds."""

    method: str
    setting: float
    values: dict[int, float]
    """AP by seed."""
    difference: "Interval | None"
    """To the plain student, seed by seed; `None` for itself, and below two common seeds."""

    @property
    def mean(self) -> float:
        """Mean AP."""
        return statistics.fmean(self.values.values())

    @property
    def deviation(self) -> float:
        """Standard deviation of the AP over seeds; 0 for a single one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else 0.0


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def paired_difference(values: dict[int, float], others: dict[int, float]) -> Interval | None:
    """Mean of the differences by seed, with a 95 % interval by Student's t; `None` below two common seeds."""
    differences = [values[seed] - others[seed] for seed in values if seed in others]
    if len(differences) < 2:
        return None
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    margin = student_t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1) * error
    return Interval(mean, mean - margin, mean + margin)


def rows(trials: Iterable[Trial], chosen: Iterable[tuple[str, float]], plain: str, split: str = "test") -> list[Row]:
    """A row for each method and setting that has a trial, in the order given.

    Args:
        trials: Trials of one regime, with the seeds that have not chosen.
        chosen: Methods with their settings; a pair that comes twice has one row.
        plain: The method that the others are compared with.
        split: `'test'` or `'val'`.
    """
    trials = list(trials)
    found: dict[tuple[str, float], dict[int, float]] = {}
    for key in chosen:
        own = [trial for trial in trials if (trial.method, trial.setting) == key]
        values = {trial.seed: value for trial in own if (value := getattr(trial, split)) is not None}
        if values:
            found[key] = dict(sorted(values.items()))
    alone = next((values for (method, _), values in found.items() if method == plain), {})
    return [
        Row(method, setting, values, None if method == plain else paired_difference(values, alone))
        for (method, setting), values in found.items()
    ]


HEADER = ("method", "setting", "seeds", "AP", "sd", "difference to plain", "95 %")


def cells(row: Row) -> list[str]:
    """Cells of the table, as in `HEADER`."""
    return [
        row.method,
        f"{row.setting:g}",
        str(len(row.values)),
        f"{row.mean:.3f}",
        f"{row.deviation:.3f}" if len(row.values) > 1 else "",
        *interval_cells(row.difference),
    ]


def interval_cells(gain: Interval | None) -> list[str]:
    """Cells of a difference and its interval; empty where there is none."""
    return [f"{gain.mean:+.3f}", f"{gain.low:+.3f} to {gain.high:+.3f}"] if gain else ["", ""]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown: first column left-aligned, the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
