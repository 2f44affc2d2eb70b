"""The page of the results: `python -m research.few_labels page`."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from research.trainings import intervals
from research.trainings.intervals import BySeed, Samples
from research.trainings.results import Places, Results
from research.trials import markdown_table

from .protocol import CHOICE, CHOOSING_SEEDS, frozen
from .sets import SETS
from .trials import METHODS, Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Few labels: results

Made by `python -m research.few_labels page` from `results/`, by [the protocol](PROTOCOL.md). AP after the last epoch.
`python -m research.few_labels again PAIR NAME` trains a row of the JSON anew.
"""


def page(results: Results, places: Places) -> str:
    """The whole page as Markdown."""
    on_test = _on_test(results, places) if CHOICE.exists() else ()
    return "\n".join([HEADER, *on_test, *(text for pair in SETS for text in _choices(results, pair))])


def _on_test(results: Results, places: Places) -> Iterator[str]:
    """A table for each set, with 95 % intervals over seeds and test images; differences are seed by seed."""
    yield "## On test\n\nDifferences are seed by seed, with 95 % intervals over seeds and test images.\n"
    samples = Samples(results)
    for pair in SETS:
        of_methods: dict[str, BySeed] = defaultdict(dict)
        for trial in frozen():
            if trial.pair == pair:
                of_methods[trial.method][trial.seed] = samples.of(trial, trial.config(places))
        (teacher,) = of_methods.pop("teacher").values()
        rows = []
        for method, aps in of_methods.items():
            value, low, high = intervals.mean(aps)
            row = [METHODS[method], str(len(aps)), f"{value:.3f} ({low:.3f} to {high:.3f})", ""]
            if method != "alone":
                row[-1] = "{:+.3f} ({:+.3f} to {:+.3f})".format(*intervals.difference(of_methods["alone"], aps))
            rows.append(row)
        yield f"{pair}, {samples.images} images, AP of the teacher {teacher[0]:.3f}:\n"
        yield markdown_table(["student", "seeds", "AP", "minus the student alone"], rows)


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
