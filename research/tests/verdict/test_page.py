"""The page of the benchmark's results."""

import dataclasses

import pytest

from research.trainings.results import Results
from research.trainings.students import Student
from research.verdict import page
from research.verdict.gains import read
from research.verdict.methods import Setting
from research.verdict.trials import Trial


def test_the_page_is_that_of_the_results():
    results = Results(page.FILE.parent / "results")
    assert page.FILE.read_text() == page.page(results, read(results.gains_file))


@pytest.fixture
def results(tmp_path) -> Results:
    results = Results(tmp_path)
    short, long = Student(3e-3, 30), Student(3e-3, 60)
    beside = Setting("both-heads", 1.0, "two", "l2", 0.3)
    for pair, setting, seed, student, val in [
        ("bccd", Setting("teacher"), 0, None, 0.5),
        ("bccd", Setting(), 1000, short, 0.30),
        ("bccd", Setting(), 1001, short, 0.32),
        ("bccd", Setting(), 1000, long, 0.40),
        ("bccd", Setting(), 0, long, 0.99),  # a result: it chooses nothing
        ("bccd", beside, 1000, short, 0.35),
        ("bccd", beside, 1001, short, 0.36),
        ("bccd-families", Setting("l2", 0.3, "finest"), 1000, long, 0.41),
    ]:
        trial = Trial(pair, setting, seed, student)
        results.write(trial, dict(trial=dataclasses.asdict(trial), val=val))
    return results


def test_means_and_differences_are_over_seeds(results):
    lines = page.page(results, {}).splitlines()
    assert "The teacher has 0.500 on val." in lines
    assert "| 0.003 | 30 | 0.01 | base | 2 | 0.310 |" in lines
    assert "| 0.003 | 60 | 0.01 | base | 1 | 0.400 |" in lines
    assert "| both-heads | 1 | two | l2 at 0.3 | 1 | 30 | 2 | 0.355 | +0.045 |" in lines
    assert not any("0.99" in line for line in lines)


def test_a_pair_with_the_student_of_another_is_compared_with_it(results):
    text = page.page(results, {}).partition("## Choices on bccd-families")[2]
    assert "| l2 | 0.3 | finest |  | 1 | 60 | 1 | 0.410 | +0.010 |" in text
    assert "The student alone" not in text
