"""The page of the results: `python -m research.families page`."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from research.trainings.results import Places, Results
from research.trials import markdown_table

from .pairs import METHODS, PAIRS
from .protocol import CHOOSING_SEEDS, FROZEN
from .trials import Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Pairs of every family: results

Made by `python -m research.families page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.families again PAIR NAME` trains a row of the JSON anew.
"""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    names = {name: name for name in (*METHODS, "alone")}
    on_test = list(FROZEN.tables(results, places, names, "alone"))
    title = ["## On test\n\nDifferences are seed by seed, with 95 % intervals over seeds and test images.\n"]
    choices = (text for pair in PAIRS for text in _choices(results, pair))
    return "\n".join([HEADER, *(title if on_test else []), *on_test, *choices])


def _choices(results: Results, pair: str) -> Iterator[str]:
    """AP on val of the trainings that choose; none without results."""
    aps: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in results.rows(pair).values():
        trial = Trial.of_row(row)
        if trial.seed in CHOOSING_SEEDS or trial.student is None:
            aps[trial.method, trial.student.name if trial.student else ""].append(row["val"])
    if aps:
        rows = [[*key, str(len(values)), f"{mean(values):.3f}"] for key, values in sorted(aps.items())]
        yield f"## Choices on {pair}, on val\n"
        yield markdown_table(["training", "setting", "seeds", "AP"], rows)
