"""Which trainings the benchmark needs, as its steps of choice; see PROTOCOL.md.

A step asks for results by `Results.val`. Where results are missing it raises `Missing` with the trainings that are
needed next; the queue runs them and asks again.
"""

from collections.abc import Callable, Sequence
from itertools import product
from statistics import mean

from .methods import Setting, first_look
from .pairs import PAIRS
from .results import Results
from .trials import AUGMENTATIONS, Student, Trial

CHOOSING_SEEDS = (1000, 1001)
"""Seeds of the trainings that choose; no result has them."""


def tuned_student(results: Results, pair: str) -> Student:
    """Step 1: the setting of the student alone that is best on val.

    Half of the length and the length for each learning rate, and beyond the grid while the best is at its end; twice
    the length for the best two; then weight decay and augmentation at the best, likewise beyond the grid; then the
    best three again with another seed.
    """
    grid = PAIRS[pair]
    if grid.student_of is not None:
        return tuned_student(results, grid.student_of)
    scores = _scores_of_rates(results, pair)
    rates = {student.learning_rate for student in scores}
    best_of_rate = {rate: max(s for t, s in scores.items() if t.learning_rate == rate) for rate in rates}
    best_rates = sorted(best_of_rate, key=best_of_rate.get, reverse=True)[:2]
    scores |= _scores(results, pair, [Student(rate, 2 * grid.epochs) for rate in best_rates])
    scores |= _scores_of_variants(results, pair, max(scores, key=scores.get))
    finalists = sorted(scores, key=scores.get, reverse=True)[:3]
    again = _scores(results, pair, finalists, CHOOSING_SEEDS[1])
    return max(finalists, key=lambda student: mean([scores[student], again[student]]))


def _scores_of_rates(results: Results, pair: str) -> dict[Student, float]:
    """AP of each learning rate at both lengths. The grid grows while the best rate is at an end of it."""
    rates, epochs = sorted(PAIRS[pair].learning_rates), PAIRS[pair].epochs
    while True:
        scores = _scores(results, pair, [Student(rate, length) for length in (epochs // 2, epochs) for rate in rates])
        best = max(scores, key=scores.get).learning_rate
        if best == rates[-1]:
            rates.append(2 * best)
        elif best == rates[0]:
            rates.insert(0, best / 3)
        else:
            return scores


def _scores_of_variants(results: Results, pair: str, student: Student) -> dict[Student, float]:
    """AP of weight decays and augmentations. The largest decay grows threefold while it is the best."""
    decays = list(PAIRS[pair].decays)
    while True:
        variants = [
            Student(student.learning_rate, student.epochs, decay, augmentation)
            for decay, augmentation in product(decays, AUGMENTATIONS)
        ]
        scores = _scores(results, pair, variants)
        if max(scores, key=scores.get).decay < decays[-1]:
            return scores
        decays.append(3 * decays[-1])


def look_first(results: Results, pair: str) -> None:
    """PCKA and L2 on the finest levels, short, beside the student alone and the recipe of today; and the recipe and L2
    for the tuned length."""
    tuned = tuned_student(results, pair)
    recipe = [Setting("both-heads")] if PAIRS[pair].own_head else []
    settings = [Setting(), *recipe, *first_look()]
    shorter, seed = short(tuned, pair), CHOOSING_SEEDS[0]
    whole = [Trial(pair, setting, seed, tuned) for setting in [Setting(), *recipe, Setting("l2", 1.0, "two")]]
    results.val(whole + [Trial(pair, setting, seed, shorter) for setting in settings])


def short(student: Student, pair: str) -> Student:
    """The tuned setting in the short regime."""
    return Student(student.learning_rate, PAIRS[pair].short_epochs, student.decay, student.augmentation)


def _scores(
    results: Results, pair: str, students: Sequence[Student], seed: int = CHOOSING_SEEDS[0]
) -> dict[Student, float]:
    values = results.val([Trial(pair, Setting(), seed, student) for student in students])
    return dict(zip(students, values, strict=True))


def check_teacher(results: Results, pair: str) -> None:
    """Step 0 of a new pair: its teacher on val."""
    results.val([Trial(pair, Setting("teacher"), 0)])


STEPS: tuple[tuple[Callable[[Results, str], object], tuple[str, ...]], ...] = (
    (tuned_student, ("bccd", "deeppcb", "deeppcb-imagenet")),
    (check_teacher, ("deeppcb-imagenet",)),
    (look_first, ("bccd", "bccd-families", "bccd-classes", "deeppcb")),
    (tuned_student, ("digits",)),
)
"""The steps in their order, each with its pairs. Steps of several pairs run side by side."""
