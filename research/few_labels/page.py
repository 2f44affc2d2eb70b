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


COLUMNS = ("training", "learning rate", "epochs", "augmentation", "share", "momentum")
"""Of the tables of choices."""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    on_val = (text for pair in SETS for text in choices(results, pair, COLUMNS, _key))
    return "\n".join([HEADER, *FROZEN.tables(results, places, METHODS, "alone", "distilled-boxes"), *on_val])


def _key(row: dict[str, Any]) -> tuple[str, ...] | None:
    trial = Trial.of_row(row)
    if trial.seed not in CHOOSING_SEEDS and trial.method != "teacher":
        return None
    setting, share = trial.setting, f"{trial.share:g}" if trial.reads_extra else ""
    momentum = f"{trial.momentum:g}" if trial.momentum else ""
    return (
        *(trial.method, f"{setting.learning_rate:g}", str(setting.epochs), setting.augmentation),
        *(share, momentum),
    )
