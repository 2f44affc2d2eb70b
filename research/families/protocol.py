"""Which trainings the benchmark of families needs, as its steps of choice; see PROTOCOL.md."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

from research.trainings.frozen import Frozen
from research.trainings.queue import Step
from research.trainings.results import Results
from research.trainings.students import Student

from .pairs import PAIRS
from .trials import Trial

CHOOSING_SEEDS = (1000, 1001)
"""Seeds of the trainings that choose; no result has them."""

AHEAD = 0.03
"""A pair whose teacher is less ahead of the tuned student on val has no results: there is little to learn."""


def tuned_student(results: Results, pair: str) -> Student:
    """Step 1: learning rate, weight decay and length of the student alone that are best on val, one after the other.

    The learning rates double, or halve, while the best is at an end.
    """
    rates = sorted(PAIRS[pair].learning_rates)
    while True:
        best = _best_student(results, pair, [Student(rate, PAIRS[pair].epochs) for rate in rates])
        if best.learning_rate == rates[-1]:
            rates.append(2 * rates[-1])
        elif best.learning_rate == rates[0]:
            rates.insert(0, rates[0] / 2)
        else:
            break
    best = _best_student(results, pair, [best, replace(best, decay=0.1)])
    return _best_student(results, pair, [best, replace(best, epochs=2 * best.epochs)])


def _best_student(results: Results, pair: str, tried: list[Student]) -> Student:
    return results.best([Trial(pair, "alone", CHOOSING_SEEDS[0], one) for one in tried]).student


def best_methods(results: Results, pair: str) -> list[str]:
    """Step 2: the methods of a pair on val, the best first: all with one seed, the better half again with another,
    unless it is a single one. A pair that takes over the best of another has that one alone."""
    student = tuned_student(results, pair)
    results.val([Trial(pair, "teacher", 0)])
    other = PAIRS[pair].methods_of
    methods = best_methods(results, other)[:1] if other else list(PAIRS[pair].methods)
    first = _scores(results, pair, methods, student, CHOOSING_SEEDS[0])
    finalists = sorted(methods, key=first.get, reverse=True)[: (len(methods) + 1) // 2]
    if len(finalists) == 1:
        return finalists
    second = _scores(results, pair, finalists, student, CHOOSING_SEEDS[1])
    return sorted(finalists, key=lambda one: mean([first[one], second[one]]), reverse=True)


def _scores(results: Results, pair: str, methods: list[str], student: Student, seed: int) -> dict[str, float]:
    values = results.val([Trial(pair, method, seed, student) for method in methods])
    return dict(zip(methods, values, strict=True))


def trials(results: Results, pair: str) -> list[Trial]:
    """Step 3: the trainings of the results: the student alone and its best method."""
    student, (best, *_) = tuned_student(results, pair), best_methods(results, pair)
    alone, teacher = results.val([Trial(pair, "alone", CHOOSING_SEEDS[0], student), Trial(pair, "teacher", 0)])
    if teacher < alone + AHEAD:
        return []
    of_seeds = [Trial(pair, method, seed, student) for seed in range(PAIRS[pair].seeds) for method in ("alone", best)]
    return [Trial(pair, "teacher", 0), *of_seeds]


def train(results: Results, pair: str) -> None:
    """The results of a pair on val."""
    results.val(trials(results, pair))


def chosen(results: Results) -> list[Trial]:
    """The trainings of the results of all pairs."""
    return [trial for pair in PAIRS for trial in trials(results, pair)]


FROZEN = Frozen(Path(__file__).with_name("choice.json"), chosen, Trial.of_row)
"""The frozen trainings of the results; step 4 tests them."""

STEPS: tuple[Step, ...] = (
    *(partial(step, pair=pair) for pair in PAIRS for step in (tuned_student, best_methods, train)),
    FROZEN.test,
)
"""The steps in their order, pair by pair. A later one uses the cores that an earlier one leaves idle."""
