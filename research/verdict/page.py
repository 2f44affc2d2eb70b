"""The page of the results: `python -m research.verdict page` writes it from the JSON files alone."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from research.trainings.intervals import Numbers, written
from research.trainings.results import Results
from research.trainings.students import Student
from research.trials import markdown_table

from .gains import ALONE, Gains, outcomes
from .methods import Setting
from .pairs import PAIRS
from .protocol import CHOOSING_SEEDS
from .trials import Trial

FILE = Path(__file__).with_name("results.md")

HEADER = """# Results of the tuned benchmark

Made by `python -m research.verdict page` from `results/*.json`, by [the protocol](PROTOCOL.md).
AP after the last epoch; with several seeds their mean.
`python -m research.verdict again PAIR NAME` trains a row of the JSON anew.
"""

APs = dict[int, float]  # by seed


def page(results: Results, gains: dict[str, Gains]) -> str:
    """The whole page as Markdown."""
    return "\n".join([HEADER, *_on_test(gains), *(text for pair in PAIRS for text in _choices(results, pair))])


def _on_test(gains: dict[str, Gains]) -> Iterator[str]:
    if not gains:
        return
    yield "## Outcomes\n"
    yield "".join(f"- {sentence}\n" for sentence in outcomes(gains))
    yield "## Results on test\n"
    yield "Differences are seed by seed, with 95 % intervals over seeds and test images.\n"
    for pair, of_pair in gains.items():
        yield f"{pair}, {of_pair.images} images, AP of the teacher {of_pair.teacher:.3f}:\n"
        header = ["method", "setting", "epochs", "seeds", "AP", "minus the student alone", "default minus the method"]
        rows = [
            [name, gain.setting if name != ALONE else "", str(gain.epochs), str(gain.seeds), f"{gain.ap[0]:.3f}"]
            + [_difference(gain.over_student), _difference(gain.default_over)]
            for name, gain in of_pair.methods.items()
        ]
        yield markdown_table(header, rows)


def _difference(numbers: Numbers | None) -> str:
    return written(numbers) if numbers else ""


def _choices(results: Results, pair: str) -> Iterator[str]:
    """The tables of a pair on val; none without results."""
    val = _on_val(results, pair)
    if not val:
        return
    yield f"## Choices on {pair}\n"
    student_of = PAIRS[pair].student_of
    trained_alone = _on_val(results, student_of or pair)
    alone = {student: aps for (setting, student), aps in trained_alone.items() if setting == Setting()}
    if teacher := val.get((Setting("teacher"), None)):
        yield f"The teacher has {_mean(teacher)} on val.\n"
    if alone and not student_of:
        yield "The student alone, on val:\n\n" + _of_students(alone)
    if distilled := {key: aps for key, aps in val.items() if key[0].method not in ("plain", "teacher")}:
        yield "Distilled, on val; the difference is to the student alone of the same seeds and length:\n"
        yield _of_settings(distilled, alone)


def _on_val(results: Results, pair: str) -> dict[tuple[Setting, Student | None], APs]:
    """AP on val of the trainings that choose, and of the teachers."""
    val: dict[tuple[Setting, Student | None], APs] = defaultdict(dict)
    for row in results.rows(pair).values():
        trial = Trial.of_row(row)
        if trial.seed in CHOOSING_SEEDS or (trial.student is None and trial.seed == 0):
            val[trial.setting, trial.student][trial.seed] = row["val"]
    return val


def _of_students(alone: dict[Student, APs]) -> str:
    rows = [
        [f"{one.learning_rate:g}", str(one.epochs), f"{one.decay:g}", one.augmentation, str(len(aps)), _mean(aps)]
        for one, aps in sorted(alone.items(), key=lambda item: -mean(item[1].values()))
    ]
    return markdown_table(["learning rate", "epochs", "weight decay", "augmentation", "seeds", "AP"], rows)


def _of_settings(distilled: dict[tuple[Setting, Student], APs], alone: dict[Student, APs]) -> str:
    rows = []
    for (setting, student), aps in sorted(
        distilled.items(), key=lambda item: (item[0][1].epochs, -mean(item[1].values()))
    ):
        differences = [ap - alone[student][seed] for seed, ap in aps.items() if seed in alone.get(student, {})]
        row = [setting.method, f"{setting.ratio:g}", setting.levels if setting.reads_maps else ""]
        row += [f"{setting.maps} at {setting.maps_ratio:g}" if setting.maps else "", f"{setting.stop:g}"]
        row += [str(student.epochs), str(len(aps)), _mean(aps), f"{mean(differences):+.3f}" if differences else ""]
        rows.append(row)
    return markdown_table(["method", "ratio", "levels", "beside", "until", "epochs", "seeds", "AP", "difference"], rows)


def _mean(aps: APs) -> str:
    return f"{mean(aps.values()):.3f}"
