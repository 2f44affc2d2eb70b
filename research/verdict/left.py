"""What is left of the benchmark, and for how long: the protocol is asked with guesses where results are missing."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from statistics import median

from rich.console import Console

from research.trainings.results import Missing, Results

from .choice import choose
from .pairs import PAIRS
from .protocol import STEPS
from .trials import Trial


class Guessing(Results):
    """Results in which missing ones are guessed, so that a step goes on to its end.

    A guessed student is behind every trained one, and nearer to them the nearer it is to the middle of its grid. A
    guessed distillation is ahead of all, so that none is dropped. Twice the length is guessed to gain nothing.
    """

    def __init__(self, results: Results):
        super().__init__(results.folder)
        self.guessed: dict[Trial, None] = {}
        """The trainings without a result."""

    def val(self, trials: Sequence[Trial]) -> list[float]:
        return [self._value(trial) for trial in trials]

    def test(self, trials: Sequence[Trial]) -> list[float]:
        self.guessed |= dict.fromkeys(trial for trial in trials if not self.has(trial))
        return [1.0] * len(trials)

    def _value(self, trial: Trial) -> float:
        try:
            return super().val([trial])[0]
        except Missing:
            self.guessed |= dict.fromkeys(one for one in (trial.teacher, trial) if one and not self.has(one))
        if trial.student is None or trial.setting.method != "plain":
            return 1.0
        pair, student = PAIRS[trial.pair], trial.student
        steps = [student.learning_rate / pair.learning_rates[1], student.epochs / pair.epochs]
        return -sum(abs(log2(step)) for step in steps) - student.decay - (student.augmentation != "base")


@dataclass(frozen=True)
class Left:
    """The trainings that are left on a pair."""

    pair: str
    trainings: int
    hours: float
    """Of one core, for those whose time is known."""
    unknown: int
    """Trainings without a known time: none like them has ended."""


def left(results: Results) -> list[Left]:
    """What is left, by pair."""
    guessing = Guessing(results)
    for step in STEPS:
        step(guessing)
    guessing.test(choose(guessing).trials())
    of_pairs: dict[str, list[float | None]] = defaultdict(list)
    epoch_seconds = EpochSeconds(results)
    # a teacher is asked for by its students, and to be tested
    for trial in {(trial.pair, trial.name): trial for trial in guessing.guessed}.values():
        of_pairs[trial.pair].append(epoch_seconds.of_training(trial))
    return [
        Left(pair, len(times), sum(filter(None, times)) / 3600, times.count(None)) for pair, times in of_pairs.items()
    ]


def show(parts: Sequence[Left], console: Console) -> None:
    """Print what is left."""
    for part in parts:
        unknown = f", and {part.unknown} of unknown time" if part.unknown else ""
        line = f"{part.pair}: {part.trainings} trainings, {part.hours:.1f} hours of one core{unknown}"
        console.print(line, highlight=False)
    hours = sum(part.hours for part in parts)
    console.print(f"in all about {sum(part.trainings for part in parts)} trainings, {hours:.0f} hours", highlight=False)


class EpochSeconds:
    """The time of an epoch, from the trainings that have ended."""

    def __init__(self, results: Results):
        self._of_kind: dict[tuple[str, str], list[float]] = defaultdict(list)
        for pair in PAIRS:
            for row in results.rows(pair).values():
                trial = Trial.of_row(row)
                self._of_kind[pair, _kind(trial)].append(row["seconds"] / _epochs(trial))

    def of_training(self, trial: Trial) -> float | None:
        """Seconds of a whole training. Without one of its kind on the pair: by the student alone, and other pairs."""
        pair, kind = PAIRS[trial.pair].student_of or trial.pair, _kind(trial)
        times = self._of_kind.get((trial.pair, kind))
        if times is None:
            alone = self._of_kind.get((pair, "plain"))
            ratios = list(self._ratios(kind))
            times = [median(alone) * median(ratios)] if alone and ratios else None
        return median(times) * _epochs(trial) if times else None

    def _ratios(self, kind: str) -> Iterator[float]:
        for pair in PAIRS:
            if (pair, kind) in self._of_kind and (pair, "plain") in self._of_kind:
                yield median(self._of_kind[pair, kind]) / median(self._of_kind[pair, "plain"])


def _epochs(trial: Trial) -> int:
    return trial.student.epochs if trial.student else PAIRS[trial.pair].teacher_epochs


def _kind(trial: Trial) -> str:
    """Trainings of one kind take equally long: by whether they read the teacher's head, maps or both."""
    method = trial.setting.method
    if method in ("plain", "teacher"):
        return method
    if method in ("both-heads", "own-head", "dist"):
        return f"{method} and maps" if trial.setting.maps else method
    return "maps"
