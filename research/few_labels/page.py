"""The page of the results: `python -m research.few_labels page`."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from research.trainings.results import Places, Results
from research.trials import markdown_table

from .protocol import CHOOSING_SEEDS, FROZEN
from .sets import SETS
from .trials import METHODS, Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Few labels: results

Made by `python -m research.few_labels page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.few_labels again PAIR NAME` trains a row of the JSON anew.
"""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    on_test = list(FROZEN.tables(results, places, METHODS, "alone"))
    title = ["## On test\n\nDifferences are seed by seed, with 95 % intervals over seeds and test images.\n"]
    choices = (text for pair in SETS for text in _choices(results, pair))
    return "\n".join([HEADER, *(title if on_test else []), *on_test, *choices])


def _choices(results: Results, pair: str) -> Iterator[str]:
    """AP on val of the trainings that choose; none without results."""
    aps: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in results.rows(pair).values():
        trial = Trial.of_row(row)
        if trial.seed in CHOOSING_SEEDS or trial.method == "teacher":
            share = f"{trial.share:g}" if trial.reads_extra else ""
            aps[trial.method, str(trial.setting.epochs), trial.setting.augmentation, share].append(row["val"])
    if aps:
        rows = [[*key, str(len(values)), f"{mean(values):.3f}"] for key, values in sorted(aps.items())]
        yield f"## Choices on {pair}, on val\n"
        yield markdown_table(["training", "epochs", "augmentation", "share", "seeds", "AP"], rows)
