"""The page of the results: `python -m research.few_labels page`."""

from pathlib import Path
from typing import Any

from research.trainings.frozen import choices
from research.trainings.results import Places, Results

from .protocol import CHOOSING_SEEDS, FROZEN
from .sets import SETS
from .trials import METHODS, Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Few labels: results

Made by `python -m research.few_labels page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.few_labels again PAIR NAME` trains a row of the JSON anew.
"""


COLUMNS = ("training", "epochs", "augmentation", "share")
"""Of the tables of choices."""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    on_val = (text for pair in SETS for text in choices(results, pair, COLUMNS, _key))
    return "\n".join([HEADER, *FROZEN.tables(results, places, METHODS, "alone"), *on_val])


def _key(row: dict[str, Any]) -> tuple[str, ...] | None:
    trial = Trial.of_row(row)
    if trial.seed not in CHOOSING_SEEDS and trial.method != "teacher":
        return None
    share = f"{trial.share:g}" if trial.reads_extra else ""
    return trial.method, str(trial.setting.epochs), trial.setting.augmentation, share
