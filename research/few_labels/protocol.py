"""Which trainings the benchmark of few labels needs, as its steps of choice; see PROTOCOL.md."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from research.trainings.frozen import Frozen
from research.trainings.queue import Step
from research.trainings.results import Results
from research.trainings.students import AUGMENTATIONS, Student

from .sets import SETS
from .trials import Trial

CHOOSING_SEEDS = (1000, 1001)
"""Seeds of the trainings that choose; no result has them."""

SHARES = (0.5, 0.75)
"""Shares of the extra images in a batch that are compared."""

MOMENTA = (1e-3, 1e-2)
"""Of SoftTeacher's averaged model; MMDetection's is the first."""


def settings(whole: Student, passes: int, parts: Iterable[int]) -> list[Student]:
    """Lengths and augmentations to compare: those iterations that the setting of all labels takes, and parts of them.

    Args:
        whole: Setting of all labels.
        passes: Epochs of few labels that have as many iterations as one of all.
        parts: Divisors of the length.
    """
    epochs = [whole.epochs * passes // part for part in parts]
    return [
        Student(whole.learning_rate, length, whole.decay, augmentation)
        for length, augmentation in product(epochs, AUGMENTATIONS)
    ]


def tuned_teacher(results: Results, pair: str) -> Student:
    """Step 1: the setting of the teacher that is best on val, of two lengths and two augmentations.

    A tenth of the labels, and all, take over what a quarter chooses.
    """
    of_set, quarter = SETS[pair], SETS[SETS[pair].quarter]
    if of_set is not quarter:
        chosen = tuned_teacher(results, quarter.name)
        return replace(chosen, epochs=chosen.epochs * of_set.teacher_epochs // quarter.teacher_epochs)
    whole = of_set.whole
    tried = settings(whole.teacher, of_set.passes, (1, 2))
    return results.best([Trial(pair, "teacher", 0, one) for one in tried]).setting


def tuned_student(results: Results, pair: str) -> Student:
    """Step 2: the setting of the student alone that is best on val, of three lengths and two augmentations, the best
    of them also at half of the learning rate, the best two again with another seed. Few images are learned by heart
    early, so shorter ones are tried."""
    of_set = SETS[pair]
    tried = settings(of_set.whole.student, of_set.passes, (1, 2, 4))
    first = _scores(results, pair, tried, CHOOSING_SEEDS[0])
    best = max(first, key=first.get)
    first |= _scores(results, pair, [replace(best, learning_rate=best.learning_rate / 2)], CHOOSING_SEEDS[0])
    finalists = sorted(first, key=first.get, reverse=True)[:2]
    second = _scores(results, pair, finalists, CHOOSING_SEEDS[1])
    return max(finalists, key=lambda one: first[one] + second[one])


def extra_settings(results: Results, pair: str) -> tuple[Student, float]:
    """Step 3: augmentation of the student and share of the extra images, by the distilled student with boxes.

    All students but the one alone have as many iterations as with all labels. A tenth of the labels, and all, take over
    what a quarter chooses.
    """
    pair = SETS[pair].quarter
    of_set, teacher = SETS[pair], tuned_teacher(results, pair)
    tried = product(settings(of_set.whole.student, of_set.passes, (1,)), SHARES)
    best = results.best(
        [Trial(pair, "distilled-boxes", CHOOSING_SEEDS[0], one, teacher, share) for one, share in tried]
    )
    return best.setting, best.share


def augmentation_of_distilled(results: Results, pair: str) -> str:
    """Step 3: augmentation of the student that is distilled on the labelled images alone, likewise."""
    pair = SETS[pair].quarter
    of_set, teacher = SETS[pair], tuned_teacher(results, pair)
    tried = settings(of_set.whole.student, of_set.passes, (1,))
    best = results.best([Trial(pair, "distilled", CHOOSING_SEEDS[0], one, teacher) for one in tried])
    return best.setting.augmentation


def with_extra(results: Results, pair: str) -> tuple[Student, float]:
    """The setting of the students that read extra images, and their share: those of all labels, with what step 3 has
    chosen."""
    (chosen, share), of_set = extra_settings(results, pair), SETS[pair]
    whole = of_set.whole.student
    return replace(whole, epochs=whole.epochs * of_set.passes, augmentation=chosen.augmentation), share


def trials(results: Results, pair: str) -> list[Trial]:
    """Step 4: the trainings of the results of a pair."""
    of_set, teacher = SETS[pair], tuned_teacher(results, pair)
    found = [Trial(pair, "teacher", 0, teacher)]
    for method in of_set.methods:
        first = _trial(results, pair, method)
        found += [replace(first, seed=seed) for seed in range(of_set.seeds)]
    return found


def _trial(results: Results, pair: str, method: str) -> Trial:
    """A method at its setting. All but the student alone and SoftTeacher have the same number of iterations."""
    if method == "alone":
        return Trial(pair, method, 0, tuned_student(results, pair))
    if method == "soft-teacher":
        return soft_teacher_of_equal_time(results, pair)
    student, share = with_extra(results, pair)
    teacher = tuned_teacher(results, pair)
    if method == "distilled":
        return Trial(pair, method, 0, replace(student, augmentation=augmentation_of_distilled(results, pair)), teacher)
    return Trial(pair, method, 0, student, teacher, share)


def soft_teacher_of_equal_time(results: Results, pair: str) -> Trial:
    """SoftTeacher's best share and momentum on val, then as long as the distillation with extra images takes.

    Times are those of the fastest training with that share: other jobs slow some down.
    """
    teacher, seed = tuned_teacher(results, pair), CHOOSING_SEEDS[0]
    student, share = with_extra(results, pair)
    theirs = [
        Trial(pair, "soft-teacher", seed, student, None, one, momentum) for one, momentum in product(SHARES, MOMENTA)
    ]
    best = results.best(theirs)
    ours = [
        Trial(pair, "distilled-boxes", seed, replace(student, augmentation=one), teacher, share)
        for one in AUGMENTATIONS
    ]
    results.val(ours)
    rows = results.rows(pair)
    times = (
        [rows[one.name]["seconds"] for one in ours],
        [rows[t.name]["seconds"] for t in theirs if t.share == best.share],
    )
    return replace(best, setting=replace(student, epochs=round(student.epochs * min(times[0]) / min(times[1]))))


def train(results: Results, pair: str) -> None:
    """The results of a pair on val."""
    results.val(trials(results, pair))


def chosen(results: Results) -> list[Trial]:
    """The trainings of the results of all pairs."""
    return [trial for pair in SETS for trial in trials(results, pair)]


FROZEN = Frozen(Path(__file__).with_name("choice.json"), chosen, Trial.of_row)
"""The frozen trainings of the results; step 5 tests them."""


def _scores(results: Results, pair: str, students: list[Student], seed: int) -> dict[Student, float]:
    values = results.val([Trial(pair, "alone", seed, student) for student in students])
    return dict(zip(students, values, strict=True))


STEPS: tuple[Step, ...] = (
    *(partial(step, pair=pair) for pair in SETS for step in (tuned_teacher, tuned_student, extra_settings, train)),
    FROZEN.test,
)
"""The steps in their order, set by set. A later one uses the cores that an earlier one leaves idle."""
