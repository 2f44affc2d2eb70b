"""The page of the results: `python -m research.families page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from research.trainings import intervals
from research.trainings.frozen import OnTest, choices, difference, tables
from research.trainings.intervals import BySeed, Numbers
from research.trainings.results import Places, Results

from .pairs import METHODS, PAIRS
from .protocol import AHEAD, CHOOSING_SEEDS, FROZEN
from .trials import Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Pairs of every family: results

Made by `python -m research.families page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.families again PAIR NAME` trains a row of the JSON anew.
"""


COLUMNS = ("training", "setting")
"""Of the tables of choices."""

TARGETS: dict[str, float | tuple[float, str]] = {
    **dict.fromkeys(("fcos-retinanet", "retinanet-fcos", "faster-retinanet", "retinanet-faster"), 0.015),
    **dict.fromkeys(("rtmdet", "yolox", "rtmdet-deeppcb", "yolox-deeppcb", "dino-digits"), 0.0),
    **dict.fromkeys(("dino", "retinanet-dino", "deformable"), (0.5, "retinanet")),
    "retinanet-large": (1.5, "retinanet"),
    "deeppcb-large": (1.5, "deeppcb"),
}
"""Of the gains on test: a gain whose interval is above 0, or a share of the gain of another pair."""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    names = {name: name for name in (*METHODS, "alone")}
    on_test = FROZEN.on_test(results, places)
    on_val = (text for pair in PAIRS for text in choices(results, pair, COLUMNS, _key))
    return "\n".join([HEADER, *outcomes(on_test), *tables(on_test, names, "alone"), *on_val])


def outcomes(on_test: Mapping[str, OnTest]) -> Iterator[str]:
    """Whether the targets are met; nothing without results."""
    if not on_test:
        return
    distilled = {pair: _distilled(methods) for pair, (*_, methods) in on_test.items()}
    gains = {pair: intervals.difference(on_test[pair].methods["alone"], aps) for pair, aps in distilled.items()}
    yield "## Outcomes\n"
    for pair in TARGETS:
        yield f"- {_outcome(pair, gains)}\n"
    for pair, aps in distilled.items():
        same = pair.removesuffix("-large")
        if pair != same and same in distilled:
            yield f"- {pair}: the larger teacher adds {difference(distilled[same], aps)}.\n"


def _outcome(pair: str, gains: Mapping[str, Numbers]) -> str:
    """Whether the target of a pair is met, as a sentence."""
    target = TARGETS[pair]
    other = target[1] if isinstance(target, tuple) else pair
    for one in (pair, other):
        if one not in gains:
            return f"{one} has no results: its teacher is less than {AHEAD} ahead of the student."
    gain, low, _ = gains[pair]
    if isinstance(target, tuple):
        share, _ = target
        wanted, met = f"{share:g} times the gain of {other}", gain >= share * gains[other][0]
    else:
        wanted, met = f"{target:+.3f} with an interval above 0", gain >= target and low > 0
    return f"{pair}: {intervals.written(gains[pair])}. The target, {wanted}, is {'met' if met else 'missed'}."


def _distilled(methods: Mapping[str, BySeed]) -> BySeed:
    """The students distilled by the method that was best on val."""
    (aps,) = (aps for name, aps in methods.items() if name != "alone")
    return aps


def _key(row: dict[str, Any]) -> tuple[str, ...] | None:
    trial = Trial.of_row(row)
    if trial.seed not in CHOOSING_SEEDS and trial.student is not None:
        return None
    return trial.method, trial.student.name if trial.student else ""
