"""What is left of the benchmark, and for how long."""

import dataclasses

import pytest
from rich.console import Console

from research.trainings.results import Results
from research.trainings.students import Student
from research.verdict.choice import choose
from research.verdict.left import EpochSeconds, Guessing, left, show
from research.verdict.methods import Setting
from research.verdict.trials import Trial


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path)


def write(results: Results, trial: Trial, **row) -> None:
    results.write(trial, dict(trial=dataclasses.asdict(trial), **row))


def test_guesses_lead_to_the_end_of_the_protocol(results):
    guessing = Guessing(results)
    trials = choose(guessing).trials()
    assert {trial.seed for trial in guessing.guessed if trial.student} == {1000, 1001}
    guessing.test(trials)
    assert set(trials) < set(guessing.guessed)
    assert Trial("bccd", Setting("teacher"), 0).on_test() in guessing.guessed


def test_what_has_a_result_is_not_left(results):
    before = {part.pair: part.trainings for part in left(results)}
    write(results, Trial("bccd", Setting(), 1000, Student(3e-3, 60)), val=0.4, seconds=600.0)
    write(results, Trial("bccd", Setting("teacher"), 0).on_test(), val=0.5, test=0.5, seconds=4000.0)
    after = {part.pair: part.trainings for part in left(results)}
    assert after == before | {"bccd": before["bccd"] - 2}


def test_the_time_is_that_of_trainings_of_its_kind(results):
    write(results, Trial("bccd", Setting(), 1000, Student(3e-3, 60)), val=0.4, seconds=600.0)
    write(results, Trial("bccd", Setting(), 1001, Student(3e-3, 60)), val=0.4, seconds=660.0)
    write(results, Trial("bccd", Setting("l2", 0.3, "two"), 1000, Student(3e-3, 30)), val=0.4, seconds=630.0)
    write(results, Trial("deeppcb", Setting(), 1000, Student(3e-3, 18)), val=0.4, seconds=360.0)
    seconds = EpochSeconds(results)
    assert seconds.of_training(Trial("bccd", Setting(), 0, Student(1e-3, 10))) == pytest.approx(105)
    assert seconds.of_training(Trial("bccd", Setting("pkd"), 0, Student(1e-3, 10))) == pytest.approx(210)
    # twice the student's time, as on the other pair
    assert seconds.of_training(Trial("deeppcb", Setting("pkd"), 0, Student(1e-3, 9))) == pytest.approx(360)
    assert seconds.of_training(Trial("bccd-families", Setting("pkd"), 0, Student(1e-3, 10))) == pytest.approx(210)
    assert seconds.of_training(Trial("deeppcb", Setting("dist"), 0, Student(1e-3, 9))) is None


def test_what_is_left_is_shown(results, capsys):
    write(results, Trial("bccd", Setting(), 1000, Student(3e-3, 60)), val=0.4, seconds=600.0)
    parts = left(results)
    show(parts, Console(width=200))
    lines = capsys.readouterr().out.splitlines()
    bccd = next(part for part in parts if part.pair == "bccd")
    assert any(
        line.startswith(f"bccd: {bccd.trainings} trainings, {bccd.hours:.1f} hours of one core") for line in lines
    )
    assert f"and {bccd.unknown} of unknown time" in next(line for line in lines if line.startswith("bccd:"))
    assert lines[-1].startswith(f"in all about {sum(part.trainings for part in parts)} trainings")
