"""The protocol's steps of choice, on invented results."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from research.tests.invented import Invented
from research.trainings.results import Missing, Results
from research.trainings.students import Student
from research.verdict import protocol
from research.verdict.methods import HEAD_LOSSES, MAP_LOSSES, METHODS, RATIOS, Setting, defaults, first_look, grid
from research.verdict.pairs import PAIRS
from research.verdict.trials import Trial


def peak(rate: float, epochs: int, decay: float = 1e-2, augmentation: str = "base") -> Callable[[Trial], float]:
    """AP that falls with the distance from one setting."""

    def value(trial: Trial) -> float:
        student = trial.student
        if student is None:
            return 0.6
        distances = (
            abs(student.learning_rate / rate - 1),
            abs(student.epochs / epochs - 1),
            3 * (student.decay != decay),
            3 * (student.augmentation != augmentation),
        )
        return 0.5 - sum(0.01 * min(float(distance), 5.0) for distance in distances)

    return value


@pytest.mark.parametrize("student", [Student(3e-3, 60), Student(6e-3, 30, 1e-1), Student(1e-3, 120, 1e-2, "affine")])
def test_the_tuned_student_is_the_best_on_val(student):
    results = Invented(peak(student.learning_rate, student.epochs, student.decay, student.augmentation))
    assert protocol.tuned_student(results, "bccd") == student
    assert {trial.seed for trial in results.asked} == set(protocol.CHOOSING_SEEDS)
    assert all(trial.setting == Setting() and not trial.tested for trial in results.asked)


@pytest.mark.parametrize("rate", [4.8e-2, 1e-3 / 9])
def test_the_grid_of_learning_rates_grows_while_the_best_is_at_its_end(rate):
    results = Invented(peak(rate, 60))
    assert protocol.tuned_student(results, "bccd").learning_rate == pytest.approx(rate)
    tried = sorted({trial.student.learning_rate for trial in results.asked})
    assert tried[0] < rate * 0.9 and tried[-1] > rate * 1.1


def test_the_weight_decay_grows_while_the_largest_is_the_best():
    value = peak(3e-3, 60)
    results = Invented(lambda trial: value(trial) + 0.5 * min(trial.student.decay, 0.9))
    assert protocol.tuned_student(results, "bccd").decay == pytest.approx(0.9)
    assert max(trial.student.decay for trial in results.asked) == pytest.approx(2.7)


def test_the_second_seed_decides_between_the_best_three():
    best, second = Student(3e-3, 60), Student(3e-3, 30)
    value = peak(3e-3, 60)
    results = Invented(lambda trial: 0.9 if (trial.seed, trial.student) == (1001, second) else value(trial))
    assert protocol.tuned_student(results, "bccd") == second
    again = [trial.student for trial in results.asked if trial.seed == 1001]
    assert len(again) == 3 and {best, second} < set(again)


def test_a_pair_may_take_over_the_tuned_student_of_another():
    results = Invented(peak(3e-3, 60))
    protocol.look_first(results, "bccd-families")
    assert {trial.pair for trial in results.asked if trial.setting == Setting()} == {"bccd"}
    assert {trial.pair for trial in results.asked if trial.setting != Setting()} == {"bccd-families"}


def test_missing_results_are_named(tmp_path):
    results = Results(tmp_path)
    with pytest.raises(Missing) as missing:
        protocol.tuned_student(results, "bccd")
    assert len(missing.value.trials) == 8  # four rates at two lengths
    for trial in missing.value.trials:
        results.write(trial, dict(val=0.1))
    with pytest.raises(Missing) as more:
        protocol.tuned_student(results, "bccd")
    assert not set(more.value.trials) & set(missing.value.trials)


def test_no_step_reads_test_images():
    results = Invented(peak(3e-3, 60))
    for step in protocol.STEPS:
        step(results)
    assert len({trial.setting for trial in results.asked}) > 80
    assert not any(trial.tested for trial in results.asked)


def of_settings(scores: dict[Setting, float], rest: float = 0.4) -> Invented:
    """Results that depend on the setting, and favour one setting of the student."""
    value = peak(3e-3, 60)
    return Invented(lambda trial: value(trial) if trial.setting == Setting() else scores.get(trial.setting, rest))


def test_each_method_has_two_settings_at_the_tuned_length():
    best = Setting("pcka-debias", 0.03, "all")
    results = of_settings({best: 0.6}, rest=0.48)
    scores = protocol.each_method(results, "bccd")
    assert max(scores, key=scores.get) == best
    assert {method: sum(s.method in names for s in scores) for method, names in METHODS.items()} == dict.fromkeys(
        METHODS, 2
    )
    long = {trial.setting for trial in results.asked if trial.student.epochs == 60} - {Setting()}
    assert long == set(scores)


def test_the_second_seed_takes_part_in_the_choice_of_a_method():
    lucky, steady = Setting("l2", 0.1, "two"), Setting("l2", 0.3, "two")
    value = peak(3e-3, 60)

    def score(trial: Trial) -> float:
        if trial.setting == Setting():
            return value(trial)
        if trial.setting == lucky:
            return 0.9 if trial.seed == 1000 else 0.0
        return 0.7 if trial.setting == steady else 0.46 + trial.setting.ratio / 100

    assert lucky not in protocol.each_method(Invented(score), "bccd")
    assert steady in protocol.each_method(Invented(score), "bccd")


def test_the_ratios_of_a_method_go_on_while_the_best_is_at_an_end():
    value = peak(3e-3, 60)

    def score(trial: Trial) -> float:
        setting = trial.setting
        if setting == Setting():
            return value(trial)
        wanted = {"dist": 0.01, "both-heads": 3.0, "mgd": 0.0001, "own-head": 0.3}.get(setting.method, 0.1)
        return 0.49 - 0.001 * abs(math.log(setting.ratio / wanted))

    results = Invented(score)
    found = protocol.finalists(results)
    tried = {name: {t.setting.ratio for t in results.asked if t.setting.method == name} for name in HEAD_LOSSES}
    assert tried["dist"] == {0.003, 0.01, *RATIOS} and tried["both-heads"] == {*RATIOS, 3.0, 9.0}
    assert tried["own-head"] == set(RATIOS)
    assert {Setting("dist", 0.01), Setting("both-heads", 3.0)} <= set(found)
    assert min(t.setting.ratio for t in results.asked if t.setting.method == "mgd") == 0.003


def test_hopeless_settings_train_once():
    poor = {setting: 0.1 for setting in grid() if setting.ratio == 1.0}
    results = of_settings(poor, rest=0.48)
    protocol.each_method(results, "bccd")
    assert set(protocol.hopeless(results)) == set(poor)
    again = {trial.setting for trial in results.asked if trial.seed == 1001}
    assert again and not again & set(poor)


def test_a_hopeless_method_keeps_its_best_setting():
    poor = {setting: 0.1 + 0.01 * (setting.ratio == 0.3) for setting in grid() if setting.method == "mgd"}
    scores = protocol.each_method(of_settings(poor, rest=0.48), "bccd")
    assert [(s.method, s.ratio) for s in scores if s.method == "mgd"] == [("mgd", 0.3)]


def test_the_default_is_the_best_in_the_mean_over_the_pairs():
    good = Setting("both-heads", 1.0, "finest", "l2", 0.3)
    assert protocol.default(of_settings({good: 0.6})) == good
    stopped = replace(good, stop=0.75)
    assert protocol.default(of_settings({good: 0.6, stopped: 0.61})) == stopped


def test_the_other_pair_trains_the_best_setting_of_each_method():
    good = {Setting("l2", ratio, "two"): 0.49 + ratio / 100 for ratio in (0.03, 0.1, 0.3)}
    results = of_settings(good, rest=0.48)
    scores = protocol.each_method(results, "deeppcb")
    assert Setting("l2", 0.3, "two") in scores and len(scores) == len(METHODS)
    distilled = [t for t in results.asked if t.pair == "deeppcb" and t.setting != Setting()]
    tuned = protocol.tuned_student(results, "deeppcb")
    assert {t.setting for t in distilled if t.student == tuned} == set(scores)
    assert {t.setting for t in distilled if t.student != tuned} == {*protocol.finalists(results), *first_look()}
    assert {t.seed for t in distilled} == {1000}


def test_the_second_seed_takes_part_in_the_choice_of_the_default():
    lucky, steady = (Setting("both-heads", 1.0, "two", "l2", ratio) for ratio in (0.1, 0.3))
    value = peak(3e-3, 60)

    def score(trial: Trial) -> float:
        if trial.setting == lucky:
            return 0.7 if trial.seed == 1000 else 0.3
        return value(trial) if trial.setting == Setting() else 0.6 if trial.setting == steady else 0.48

    assert protocol.default(Invented(score)) == steady


def test_the_default_is_not_what_is_best_on_one_pair():
    value = peak(3e-3, 60)
    one, everywhere = Setting("l2", 1.0, "two"), Setting("both-heads", 0.3)

    def score(trial: Trial) -> float:
        if trial.setting == one:
            return 0.6 if trial.pair == "bccd" else 0.3
        return value(trial) if trial.setting == Setting() else 0.5 if trial.setting == everywhere else 0.4

    assert protocol.default(Invented(score)) == everywhere


def test_every_method_has_the_same_settings():
    settings = list(grid())
    assert len(settings) == len(set(settings))
    for method in MAP_LOSSES:
        found = {(s.levels, s.ratio) for s in settings if s.method == method and s.maps is None and s.stop == 1}
        assert found == {(levels, ratio) for levels in ("two", "all") for ratio in RATIOS}, method
    for method in ("dist", "own-head", "both-heads"):
        assert {s.ratio for s in settings if s.method == method} == set(RATIOS)
    assert not {s.method for s in grid(own_head=False)} & HEAD_LOSSES.keys()
    assert {(s.method, s.levels) for s in first_look()} == {
        (method, levels) for method in ("l2", "pcka-center") for levels in ("finest", "two")
    }


def test_names_are_distinct_and_come_back_from_a_row(tmp_path):
    settings = [Setting(), *grid(), *first_look(), *defaults()]
    trials = [Trial("bccd", setting, 1000, Student(3e-3, 60)) for setting in dict.fromkeys(settings)]
    assert len({trial.name for trial in trials}) == len(trials)
    results = Results(tmp_path)
    for trial in [*trials[:3], Trial("bccd", Setting("teacher"), 0)]:
        results.write(trial, dict(trial=dataclasses.asdict(trial), val=0.1))
        assert Trial.of_row(results.rows("bccd")[trial.name]) == trial


def test_the_recorded_rows_are_those_of_their_trials():
    results = Results(Path(protocol.__file__).parent / "results")
    for pair in PAIRS:
        for name, row in results.rows(pair).items():
            trial = Trial.of_row(row)
            assert (trial.pair, trial.name) == (pair, name)
            assert row["command"] == f"python -m research.verdict again {pair} {name}"
            assert row["val"] == list(row["curve"].values())[-1]
            assert len(row["curve"]) >= min(8, trial.student.epochs if trial.student else 8)
            assert row["version"] and not row["version"].endswith("+") and row["inputs"]["config"] and row["code"]
