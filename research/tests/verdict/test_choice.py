"""The choice that is frozen before test is read, and the trainings of the results, on invented results."""

from dataclasses import replace
from itertools import groupby

import pytest

from research.trainings.results import Missing, Results
from research.trainings.students import Student
from research.verdict import choice as choice_module
from research.verdict.choice import CHOOSING_PAIRS, RESULT_PAIRS, Choice, choose, train_and_test, with_length
from research.verdict.methods import Setting
from research.verdict.trials import Trial

DEFAULT = Setting("both-heads", 1.0, "finest", "l2", 0.3)
STUDENT = Student(3e-3, 60)


def score(trial: Trial) -> float:
    """DIST is the second best method, the student's head the third; L2 is before PCKA."""
    if trial.student is None:
        return 0.6
    if trial.setting == Setting():
        return 0.4 - 0.01 * abs(trial.student.learning_rate / 3e-3 - 1) - 0.01 * abs(trial.student.epochs / 60 - 1)
    if replace(trial.setting, stop=1.0) == DEFAULT:
        return 0.5 if trial.setting.stop == 1 else 0.45
    of_method = {"both-heads": 0.47, "dist": 0.46, "own-head": 0.45, "l2": 0.43, "pcka-center": 0.40}
    favoured = 0.005 if trial.setting.ratio == 0.1 else 0.0
    return of_method.get(trial.setting.method, 0.39) + favoured


class Scores(Results):
    """Rows on disk for what was trained; the score of the others is invented while `invent`."""

    invent = True

    def val(self, trials):
        return [score(trial) for trial in trials] if self.invent else super().val(trials)


@pytest.fixture
def results(tmp_path) -> Scores:
    return Scores(tmp_path / "results")


@pytest.fixture
def choice(results) -> Choice:
    return choose(results)


def test_the_choice_is_the_default_the_best_rivals_and_the_papers_method(choice):
    assert choice.default == DEFAULT
    assert {pair: student.learning_rate for pair, student in choice.students.items()}.keys() == set(RESULT_PAIRS)
    for pair in CHOOSING_PAIRS:
        names = {name: (setting.method, setting.ratio) for name, setting in choice.rivals[pair].items()}
        assert names == {"DIST": ("dist", 0.1), "L2": ("l2", 0.1), "PCKA": ("pcka-center", 0.1)}
    assert list(choice.rivals["digits"]) == ["DIST", "L2", "PCKA"]


def test_the_best_of_ours_is_a_rival_of_a_default_that_is_published(results):
    invented = results.val
    results.val = lambda trials: [
        0.6 if trial.setting.method == "dist" else value for trial, value in zip(trials, invented(trials), strict=True)
    ]
    choice = choose(results)
    assert choice.default.method == "dist"
    assert list(choice.rivals["bccd"]) == ["L2", "PCKA", "both heads"]


@pytest.mark.parametrize(
    ("pair", "gains", "epochs"),
    [
        ("bccd", (0.005, 0.04), 60),
        ("bccd", (0.02, 0.025), 120),
        ("bccd", (0.02, 0.04), 240),
        ("digits", (0.02, 0.04), 120),  # no longer than half an hour
    ],
)
def test_a_student_trains_longer_while_that_gains(results, monkeypatch, pair, gains, epochs):
    monkeypatch.setattr(choice_module, "tuned_student", lambda *_: STUDENT)
    longer = dict(zip((60, 120, 240), (0.0, *gains), strict=True))
    results.val = lambda trials: [0.4 + longer[one.student.epochs] + (one.seed - 1000) / 100 for one in trials]
    assert with_length(results, pair, DEFAULT) == replace(STUDENT, epochs=epochs)


def test_the_student_alone_and_the_distilled_one_have_their_own_lengths(results):
    invented = results.val
    results.val = lambda trials: [
        value + 0.02 * (trial.setting == DEFAULT and trial.student.epochs == 120)
        for trial, value in zip(trials, invented(trials), strict=True)
    ]
    choice = choose(results)
    assert choice.distilled == choice.students | {"bccd": replace(choice.students["bccd"], epochs=120)}
    lengths = {
        (one.setting == Setting(), one.student.epochs) for one in choice.trials() if one.student and one.pair == "bccd"
    }
    assert lengths == {(True, choice.students["bccd"].epochs), (False, 120)}


def test_the_frozen_choice_is_read_as_it_was_written(choice, tmp_path):
    choice.write(tmp_path / "choice.json")
    assert Choice.read(tmp_path / "choice.json") == choice


def test_the_results_have_other_seeds_than_the_choice_and_the_same_student(choice):
    trials = choice.trials()
    assert len({(trial.pair, trial.name) for trial in trials}) == len(trials)
    of_seeds: dict[tuple, set[int]] = {}
    for trial in trials:
        assert trial.student in (choice.students[trial.pair], choice.distilled[trial.pair], None) and trial.tested
        of_seeds.setdefault((trial.pair, trial.setting, trial.teacher_seed), set()).add(trial.seed)
    for pair in RESULT_PAIRS:
        seeds, of_rivals = (10, 5) if pair == "bccd" else (5, 3)
        assert of_seeds[pair, Setting(), 0] == of_seeds[pair, DEFAULT, 0] == set(range(seeds))
        assert all(of_seeds[pair, one, 0] == set(range(of_rivals)) for one in choice.rivals[pair].values())
    teachers = {seed for pair, setting, seed in of_seeds if (pair, setting) == ("bccd", DEFAULT)}
    assert teachers == {0, 1, 2}
    assert {trial.teacher for trial in trials if trial.teacher_seed == 2} == {Trial("bccd", Setting("teacher"), 2)}


def test_nothing_is_trained_or_tested_before_the_choice_is_frozen(results, tmp_path):
    results.invent = False
    train_and_test(results, tmp_path / "choice.json")


def test_a_frozen_choice_that_the_results_do_not_make_is_refused(results, choice, tmp_path):
    replace(choice, default=Setting("l2")).write(tmp_path / "choice.json")
    with pytest.raises(ValueError, match=r"choice.json is not what the results on val choose"):
        train_and_test(results, tmp_path / "choice.json")


def test_each_training_is_tested_as_it_ends_the_claim_before_the_other_methods(results, choice, tmp_path, monkeypatch):
    choice.write(tmp_path / "choice.json")
    monkeypatch.setattr("research.verdict.choice.choose", lambda _: choice)
    results.invent = False
    trials = choice.trials()
    assert [pair for pair, _ in groupby(trials, key=lambda trial: trial.pair)] == [*RESULT_PAIRS, *RESULT_PAIRS]
    results.write(trials[0], dict(val=0.4))
    for trial in trials[1:-1]:
        results.write(trial, dict(val=0.4, test=0.3))
    with pytest.raises(Missing) as missing:
        train_and_test(results, tmp_path / "choice.json")
    assert missing.value.trials == [trials[0], trials[-1]]
    for trial in trials:
        results.write(trial, dict(val=0.4, test=0.3))
    train_and_test(results, tmp_path / "choice.json")
