"""The page of the results: `python -m research.families page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from research.trainings.frozen import OnTest, choices, difference, tables
from research.trainings.results import Places, Results

from .pairs import METHODS, PAIRS
from .protocol import CHOOSING_SEEDS, FROZEN
from .trials import Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Pairs of every family: results

Made by `python -m research.families page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.families again PAIR NAME` trains a row of the JSON anew.
"""


COLUMNS = ("training", "setting")
"""Of the tables of choices."""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    names = {name: name for name in (*METHODS, "alone")}
    on_test = FROZEN.on_test(results, places)
    on_val = (text for pair in PAIRS for text in choices(results, pair, COLUMNS, _key))
    return "\n".join([HEADER, *tables(on_test, names, "alone"), *of_larger_teachers(on_test), *on_val])


def of_larger_teachers(on_test: Mapping[str, OnTest]) -> Iterator[str]:
    """What a teacher of twice the size adds to the gain by one of the student's size."""
    for pair, (_, _, methods) in on_test.items():
        other = on_test.get(pair.removesuffix("-large"))
        if pair.endswith("-large") and other is not None:
            same, larger = (next(aps for name, aps in of.items() if name != "alone") for of in (other.methods, methods))
            yield f"{pair}: the larger teacher adds {difference(same, larger)}.\n"


def _key(row: dict[str, Any]) -> tuple[str, ...] | None:
    trial = Trial.of_row(row)
    if trial.seed not in CHOOSING_SEEDS and trial.student is not None:
        return None
    return trial.method, trial.student.name if trial.student else ""
