"""The page of the results: `python -m research.few_labels page`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from research.trainings import intervals
from research.trainings.frozen import OnTest, choices, tables
from research.trainings.results import Places, Results
from research.verdict import gains

from .protocol import CHOOSING_SEEDS, FROZEN
from .sets import SETS, WHOLE
from .trials import METHODS, Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Few labels: results

Made by `python -m research.few_labels page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.few_labels again PAIR NAME` trains a row of the JSON anew.
"""


OURS = "distilled-boxes"
"""The method that the others are subtracted from."""

COLUMNS = ("training", "learning rate", "epochs", "augmentation", "share", "momentum")
"""Of the tables of choices."""


LEAST_GAIN, LEAST_SHARE, LEAST_SETS = 0.06, 0.5, 2
"""The target: a gain over the student alone, a share of the way to all labels, and the sets that have both."""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    on_test = FROZEN.on_test(results, places)
    of_all = gains.read(Path(gains.__file__).parent / "results" / "gains.json")
    limits = {name: of_pair.methods[gains.ALONE].ap[0] for name, of_pair in of_all.items()}
    on_val = (text for pair in SETS for text in choices(results, pair, COLUMNS, _key))
    return "\n".join([HEADER, *outcomes(on_test, limits), *tables(on_test, METHODS, "alone", OURS), *on_val])


def outcomes(on_test: Mapping[str, OnTest], limits: Mapping[str, float]) -> Iterator[str]:
    """How far each set comes from the student alone to that of all labels, and whether the target is met.

    Args:
        on_test: What the sets have on test.
        limits: Mean AP of the student of all labels, by kind of set; sets of other kinds are left out.
    """
    met, sentences = [], []
    for pair, (_, _, methods) in on_test.items():
        of_set = SETS[pair]
        if of_set.whole is WHOLE[of_set.kind] and of_set.percent < 100 and of_set.kind in limits:
            gain, *_ = intervals.difference(methods["alone"], methods[OURS])
            limit = limits[of_set.kind]
            share = gain / (limit - intervals.mean(methods["alone"])[0])
            sentences.append(f"- {pair}: {gain:+.3f}, {share:.0%} of the way to all labels ({limit:.3f}).\n")
            if of_set.percent == 25 and gain >= LEAST_GAIN and share >= LEAST_SHARE:
                met.append(pair)
    if sentences:
        yield "## Outcomes\n"
        yield from sentences
        yield (
            f"The target, {LEAST_GAIN:+} and {LEAST_SHARE:.0%} of the way at a quarter of the labels on {LEAST_SETS} "
            f"sets, is {'met' if len(met) >= LEAST_SETS else 'missed'}: met on {', '.join(met) or 'none'}.\n"
        )


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
