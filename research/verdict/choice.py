"""What is chosen on val and frozen before test is read, and the trainings of the results; see PROTOCOL.md."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean

from pcka_mmdet.checkpoints.atomic_write import write_json
from research.trainings.results import Results
from research.trainings.students import Student

from .methods import METHODS, OURS, Setting
from .pairs import PAIRS
from .protocol import (
    CHOOSING_PAIRS,
    CHOOSING_SEEDS,
    best_of_each_method,
    best_over_pairs,
    default,
    means,
    of_each_pair,
    tuned_student,
)
from .protocol import STEPS as STEPS_OF_CHOICE
from .trials import Trial

FILE = Path(__file__).with_name("choice.json")
"""The frozen choice."""

HELD_OUT = ("deeppcb-imagenet", "digits")
"""Pairs on which nothing but the student alone was tuned."""

RESULT_PAIRS = (*CHOOSING_PAIRS, *HELD_OUT)
"""Pairs whose test images are read."""

TEACHERS_PAIR, TEACHER_SEEDS = "bccd", (1, 2)
"""The default also trains with these teachers."""

PAPER = "PCKA"
"""The paper's method has results, whatever its rank."""

RIVALS = 2
"""Published methods that have results, the best in the mean over the pairs. Beside them, where the default is another
one, the best of ours."""

SEEDS, RIVALS_SEEDS = {"bccd": 10}, {"bccd": 5}
"""Seeds of a pair's results; of another pair five and three."""

WORTH_IT = 0.01
"""What training twice as long must gain on val."""

SIMPLE = "L2"
"""A method that has results on the digits: the first experiments had it ahead there."""


@dataclass(frozen=True)
class Choice:
    """The settings of the results."""

    default: Setting
    students: Mapping[str, Student]
    """The student alone, by pair."""
    distilled: Mapping[str, Student]
    """The student of all distillations, by pair: it differs in the length at most."""
    rivals: Mapping[str, Mapping[str, Setting]]
    """Settings of the other methods: by pair, and by the method's name."""

    @classmethod
    def read(cls, file: Path) -> "Choice":
        """The frozen choice."""
        content = json.loads(file.read_text())
        return cls(
            default=Setting(**content["default"]),
            **{
                side: {pair: Student(**student) for pair, student in content[side].items()}
                for side in ("students", "distilled")
            },
            rivals={
                pair: {name: Setting(**setting) for name, setting in of_pair.items()}
                for pair, of_pair in content["rivals"].items()
            },
        )

    def write(self, file: Path) -> None:
        """Freeze the choice. It is to be committed."""
        write_json(file, dataclasses.asdict(self))

    def trials(self) -> list[Trial]:
        """The trainings of the results: on every pair those that the claim rests on, then the others."""
        parts = product((self._claim, self._others), self.students)
        return [trial.on_test() for part, pair in parts for trial in part(pair)]

    def _claim(self, pair: str) -> Iterator[Trial]:
        yield Trial.of_teacher(pair)
        for seed in range(SEEDS.get(pair, 5)):
            yield Trial(pair, Setting(), seed, self.students[pair])
            yield Trial(pair, self.default, seed, self.distilled[pair])

    def _others(self, pair: str) -> Iterator[Trial]:
        distilled = self.distilled[pair]
        for setting, seed in product(self.rivals[pair].values(), range(RIVALS_SEEDS.get(pair, 3))):
            yield Trial(pair, setting, seed, distilled)
        if pair == TEACHERS_PAIR:
            for teacher_seed, seed in product(TEACHER_SEEDS, range(5)):
                yield Trial(pair, self.default, seed, distilled, teacher_seed=teacher_seed)


def choose(results: Results) -> Choice:
    """The choice by the results on val. Raises `Missing` while trainings are left."""
    best = default(results)
    students = of_each_pair(lambda pair: with_length(results, pair, Setting()), RESULT_PAIRS)
    distilled = students | lengths_of_default(results)
    of_pairs = {pair: best_of_each_method(results, pair) for pair in CHOOSING_PAIRS}
    everywhere = best_over_pairs(results)
    ranks = {name: mean(scores[name][1] for scores in of_pairs.values()) for name in METHODS}
    ranked = [name for name in sorted(ranks, key=ranks.get, reverse=True) if everywhere[name] != best]
    published, ours = ([name for name in ranked if (name in OURS) == own] for own in (False, True))
    is_ours = any(best.method in METHODS[name] for name in OURS)
    names = dict.fromkeys([*published[:RIVALS], PAPER, *([] if is_ours else ours[:1])])
    rivals = {pair: {name: scores[name][0] for name in names} for pair, scores in of_pairs.items()}
    rivals |= {pair: {name: everywhere[name] for name in names} for pair in HELD_OUT}
    rivals["digits"][SIMPLE] = everywhere[SIMPLE]
    return Choice(best, students, distilled, rivals)


def lengths_of_default(results: Results) -> dict[str, Student]:
    """Step 5 of the default, on the pairs that choose."""
    best = default(results)
    return of_each_pair(lambda pair: with_length(results, pair, best))


def with_length(results: Results, pair: str, setting: Setting) -> Student:
    """Step 5: the tuned student, for twice the length while that gains a setting `WORTH_IT` by the mean over the seeds
    of choice."""
    student = tuned_student(results, pair)
    while 2 * student.epochs <= PAIRS[pair].longest:
        longer = replace(student, epochs=2 * student.epochs)
        shorter_ap, longer_ap = (
            means(results, [setting], {pair: one}, CHOOSING_SEEDS)[setting] for one in (student, longer)
        )
        if longer_ap - shorter_ap < WORTH_IT:
            break
        student = longer
    return student


def train_and_test(results: Results, file: Path = FILE) -> None:
    """Step 6: the results of the frozen choice. Each training is tested once, as it ends.

    Raises:
        Missing: Trainings are left.
        ValueError: The frozen choice is not that of the results.
    """
    if not file.exists():
        return
    choice = Choice.read(file)
    if choice != choose(results):
        raise ValueError(f"{file.name} is not what the results on val choose: freeze the choice again")
    results.test(choice.trials())


STEPS = (*STEPS_OF_CHOICE, choose, lengths_of_default, train_and_test)
