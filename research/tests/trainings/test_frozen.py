"""The frozen trainings of a protocol, and their tables on test."""

import json
from pathlib import Path

import numpy as np
import pytest

from research.families.trials import Trial
from research.tests.invented import IMAGES, write_test_images
from research.trainings.frozen import Frozen, tables
from research.trainings.results import Missing, Places, Results
from research.trainings.students import Student

STUDENT = Student(6e-3, 4)
TRIALS = [
    Trial("rtmdet", "teacher", 0),
    *(Trial("rtmdet", method, seed, STUDENT) for seed in range(2) for method in ("alone", "own-head")),
]


@pytest.fixture
def places(tmp_path) -> Places:
    """Images with one object each."""
    write_test_images(tmp_path / "data")
    return Places(tmp_path / "work", tmp_path / "data", Path("weights.pth"))


@pytest.fixture
def results(tmp_path) -> Results:
    """The student alone finds the object in three of six images, its method in five, the teacher in all."""
    results = Results(tmp_path / "results")
    for trial in TRIALS:
        found = dict(teacher=6, alone=3).get(trial.method, 5)
        boxes = [dict(image_id=i, bbox=[8, 8, 40, 40], score=0.9, category_id=1) for i in range(found)]
        file = tmp_path / "detections.json"
        file.write_text(json.dumps(boxes))
        results.keep_detections(trial, file)
        results.write(trial, dict(val=0.5, test=0.5))
    return results


def test_tables_are_those_of_the_detections(results, places, tmp_path):
    frozen = Frozen(tmp_path / "choice.json", lambda results: TRIALS, Trial.of_row)
    assert list(tables(frozen.on_test(results, places), {}, "alone")) == []  # nothing is frozen
    frozen.freeze(results)
    assert frozen.trials() == TRIALS
    names, on_test = {"alone": "student alone", "own-head": "own head"}, frozen.on_test(results, places)
    text = "".join(tables(on_test, names, "alone"))
    # recall of k of 6 images at full precision: the share of the 101 recall thresholds up to k / 6
    three, five = ((np.linspace(0, 1, 101) <= k / IMAGES).mean() for k in (3, 5))
    assert "rtmdet, 6 images, AP of the teacher 1.000:" in text
    assert f"| student alone | 2 | {three:.3f} (" in text and f"| own head | 2 | {five:.3f} (" in text
    assert f"| {five - three:+.3f} (" in text
    assert "own head, minus this" in "".join(tables(on_test, names, "alone", "own-head"))


def test_trainings_that_are_left_are_not_frozen(tmp_path):
    def choose(results: Results) -> list[Trial]:
        results.val(TRIALS)
        return TRIALS

    frozen = Frozen(tmp_path / "choice.json", choose, Trial.of_row)
    with pytest.raises(Missing):
        frozen.freeze(Results(tmp_path))
    assert not frozen.file.exists()
