"""Which trainings the benchmark needs, as its steps of choice; see PROTOCOL.md.

A step asks for results by `Results.val`. Where results are missing it raises `Missing` with the trainings that are
needed next; the queue runs them and asks again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from statistics import mean
from typing import TypeVar

from research.trainings.queue import Step
from research.trainings.results import Missing, Results
from research.trainings.students import AUGMENTATIONS, Student

from .methods import METHODS, Setting, defaults, first_look, grid
from .pairs import PAIRS
from .trials import Trial

T = TypeVar("T")

CHOOSING_SEEDS = (1000, 1001)
"""Seeds of the trainings that choose; no result has them."""

CHOOSING_PAIRS = ("bccd", "deeppcb")
"""Pairs on which methods and the default are chosen. The others take the choice over."""

SCREENING_PAIR = "bccd"
"""Pair on which all settings train in the short regime; on the other one the best of them do."""

FURTHEST = (0.003, 10.0)
"""Limits of the ratios of a method that is best at an end of those of all."""

HOPELESS = 0.05
"""A setting whose short training is this far below the student alone is dropped."""


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
    decays = PAIRS[pair].decays
    variants = [
        Student(student.learning_rate, student.epochs, decay, augmentation)
        for decay, augmentation in product(decays, AUGMENTATIONS)
    ]
    scores, largest = _scores(results, pair, variants), decays[-1]
    while (best := max(scores, key=scores.get)).decay == largest:
        largest *= 3
        scores |= _scores(results, pair, [replace(best, decay=largest)])
    return scores


def look_first(results: Results, pair: str) -> None:
    """PCKA and L2 on the finest levels, short, beside the student alone and the recipe of today; and the recipe and L2
    for the tuned length."""
    tuned = tuned_student(results, pair)
    shorter, seed = short(tuned, pair), CHOOSING_SEEDS[0]
    alone = PAIRS[pair].student_of or pair
    recipe = [Setting("both-heads")] if PAIRS[pair].own_head else []
    whole = [Trial(pair, setting, seed, tuned) for setting in [*recipe, Setting("l2", 1.0, "two")]]
    shorts = [Trial(pair, setting, seed, shorter) for setting in [*recipe, *first_look()]]
    results.val([Trial(alone, Setting(), seed, student) for student in (tuned, shorter)] + whole + shorts)


def each_method(results: Results, pair: str) -> dict[Setting, float]:
    """Step 3: AP of the best settings of each method at the tuned length: two on the screening pair; on the other one
    the best of these and of the first look's, by their mean in the short regime over both."""
    chosen = finalists(results) if pair == SCREENING_PAIR else list(best_over_pairs(results).values())
    return _scores_of_settings(results, pair, chosen, tuned_student(results, pair))


def finalists(results: Results) -> list[Setting]:
    """The best two settings of each method in the short regime of the screening pair, by successive halving.

    All settings, and further ratios of a method that is best at an end of them; the better third of all that are not
    hopeless, the best two of each method, and the student alone, again with another seed. A method that is hopeless
    keeps its best setting.
    """
    first, dropped = _first_scores(results), hopeless(results)
    hopeful = {setting: first[setting] for setting in first if setting not in (Setting(), *dropped)}
    again = [*_best(hopeful, len(hopeful) // 3), *_best_of_methods(hopeful), *_best_of_methods(first, 1)]
    shorter = short(tuned_student(results, SCREENING_PAIR), SCREENING_PAIR)
    second = _scores_of_settings(results, SCREENING_PAIR, [Setting(), *again], shorter, CHOOSING_SEEDS[1])
    return _best_of_methods({setting: mean([first[setting], score]) for setting, score in second.items()})


def hopeless(results: Results) -> list[Setting]:
    """The settings that step 3 drops after their short training."""
    scores = _first_scores(results)
    return [setting for setting, score in scores.items() if score <= scores[Setting()] - HOPELESS]


def _first_scores(results: Results) -> dict[Setting, float]:
    """AP of the student alone and of each setting of step 3, in the short regime of the screening pair."""
    shorter = short(tuned_student(results, SCREENING_PAIR), SCREENING_PAIR)
    scores = _scores_of_settings(results, SCREENING_PAIR, [Setting(), *grid()], shorter)
    for names in METHODS.values():
        while (further := _further_ratio(scores, names)) is not None:
            scores |= _scores_of_settings(results, SCREENING_PAIR, [further], shorter)
    return scores


def _further_ratio(scores: dict[Setting, float], names: Sequence[str]) -> Setting | None:
    """A method's best setting at the next ratio; `None` if it is not at an end of those tried, or at a limit."""
    best = max((one for one in scores if one.method in names), key=scores.get)
    tried = [one.ratio for one in scores if replace(one, ratio=best.ratio) == best]
    for end, ratio in ((min(tried), best.ratio / 3), (max(tried), best.ratio * 3)):
        if best.ratio == end and FURTHEST[0] <= ratio <= FURTHEST[1] and best.maps is None:
            return replace(best, ratio=float(f"{ratio:.1g}"))
    return None


def default(results: Results) -> Setting:
    """Step 4: the setting with the best mean AP over the pairs.

    Candidates are the best three of both heads with a loss on maps beside them, and the best two settings of step 3, by
    their mean in the short regime. They train at the tuned length; the best two of them again with another seed; then
    stops of the best at 50 and 75 %.
    """
    tuned = of_each_pair(lambda pair: tuned_student(results, pair))
    of_each_pair(lambda pair: each_method(results, pair))
    of_methods, joined = (_short_means(results, settings) for settings in (_candidates(results), list(defaults())))
    candidates = [*_best(of_methods, 2), *_best(joined, 3)]
    scores = means(results, _best(means(results, candidates, tuned), 2), tuned, CHOOSING_SEEDS)
    best = max(scores, key=scores.get)
    scores |= means(results, [replace(best, stop=stop) for stop in (0.5, 0.75)], tuned, CHOOSING_SEEDS)
    return max(scores, key=scores.get)


def best_of_each_method(results: Results, pair: str) -> dict[str, tuple[Setting, float]]:
    """The setting of each method that is best at the tuned length, with its AP."""
    scores = each_method(results, pair)
    best = _best_of_methods(scores, 1)
    return {name: (setting, scores[setting]) for name, setting in zip(METHODS, best, strict=True)}


def best_over_pairs(results: Results) -> dict[str, Setting]:
    """The setting of each method that is best in the short regime by the mean over the pairs."""
    return dict(zip(METHODS, _best_of_methods(_short_means(results, _candidates(results)), 1), strict=True))


def _candidates(results: Results) -> list[Setting]:
    """The settings that are compared in the short regime of all pairs: those of the first look have it there too."""
    return list(dict.fromkeys([*finalists(results), *first_look()]))


def short(student: Student, pair: str) -> Student:
    """The tuned setting in the short regime."""
    return Student(student.learning_rate, PAIRS[pair].short_epochs, student.decay, student.augmentation)


def _best(scores: dict[Setting, float], count: int) -> list[Setting]:
    return sorted(scores, key=scores.get, reverse=True)[:count]


def _best_of_methods(scores: dict[Setting, float], count: int = 2) -> list[Setting]:
    """The best settings of each method, in the order of `METHODS`."""
    chosen = []
    for names in METHODS.values():
        chosen += _best({one: score for one, score in scores.items() if one.method in names}, count)
    return chosen


def of_each_pair(ask: Callable[[str], T], pairs: Iterable[str] = CHOOSING_PAIRS) -> dict[str, T]:
    """The answers for all pairs. What they miss is asked for together, so that no core is idle."""
    answers, missing = {}, []
    for pair in pairs:
        try:
            answers[pair] = ask(pair)
        except Missing as error:
            missing += error.trials
    if missing:
        raise Missing(missing)
    return answers


def _short_means(results: Results, settings: Sequence[Setting]) -> dict[Setting, float]:
    """Mean AP over the pairs in the short regime."""
    students = {pair: short(tuned_student(results, pair), pair) for pair in CHOOSING_PAIRS}
    return means(results, settings, students)


def means(
    results: Results,
    settings: Sequence[Setting],
    students: dict[str, Student],
    seeds: Sequence[int] = CHOOSING_SEEDS[:1],
) -> dict[Setting, float]:
    """Mean AP over the pairs and seeds."""
    scores = of_each_pair(
        lambda pair: [_scores_of_settings(results, pair, settings, students[pair], seed) for seed in seeds], students
    )
    return {one: mean(of_seed[one] for of_pair in scores.values() for of_seed in of_pair) for one in settings}


def _scores_of_settings(
    results: Results, pair: str, settings: Iterable[Setting], student: Student, seed: int = CHOOSING_SEEDS[0]
) -> dict[Setting, float]:
    settings = list(dict.fromkeys(settings))
    values = results.val([Trial(pair, setting, seed, student) for setting in settings])
    return dict(zip(settings, values, strict=True))


def _scores(
    results: Results, pair: str, students: Sequence[Student], seed: int = CHOOSING_SEEDS[0]
) -> dict[Student, float]:
    values = results.val([Trial(pair, Setting(), seed, student) for student in students])
    return dict(zip(students, values, strict=True))


def check_teacher(results: Results, pair: str) -> None:
    """Step 0 of a new pair: its teacher on val."""
    results.val([Trial.of_teacher(pair)])


STEPS: tuple[Step, ...] = (
    partial(tuned_student, pair="bccd"),
    partial(check_teacher, pair="deeppcb-imagenet"),
    partial(tuned_student, pair="deeppcb-imagenet"),
    *(partial(look_first, pair=pair) for pair in ("bccd", "deeppcb", "bccd-families", "bccd-classes")),
    *(partial(each_method, pair=pair) for pair in CHOOSING_PAIRS),
    default,
    partial(check_teacher, pair="digits"),
    partial(tuned_student, pair="digits"),
)
"""The steps in their order. A later one uses the cores that an earlier one leaves idle."""
