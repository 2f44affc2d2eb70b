"""Gains on test from kept detections, their pages, and what follows from them."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from pcka_mmdet.report.page.scores import estimate
from research.tests.invented import IMAGES, write_test_images
from research.trainings.intervals import Samples
from research.trainings.results import Places, Results
from research.trainings.students import Student
from research.verdict import first_pages, page
from research.verdict.choice import Choice
from research.verdict.gains import ALONE, DEFAULT, Gain, Gains, measure, outcomes, read, write
from research.verdict.methods import Setting
from research.verdict.trials import Trial

STUDENT, LONGER = Student(3e-3, 60), Student(3e-3, 120)
BEST, RIVAL = Setting("both-heads"), Setting("dist", 0.1)
CHOICE = Choice(BEST, {"bccd": STUDENT}, {"bccd": LONGER}, {"bccd": {"DIST": RIVAL}})


@pytest.fixture
def data_root(tmp_path):
    """Images with one object each."""
    write_test_images(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def results(tmp_path):
    """A method finds the object in the first `found` images of the six, and one less with an odd seed."""
    results = Results(tmp_path / "results")
    for trial in CHOICE.trials():
        results.write(trial, dict(val=0.9, test=0.875))
        if trial.student is None:
            continue
        found = {Setting(): 3, BEST: 5, RIVAL: 4}[trial.setting] - trial.seed % 2
        boxes = [dict(image_id=i, bbox=[8.001, 8, 40, 40], score=0.91234567, category_id=1) for i in range(found)]
        file = tmp_path / "detections.json"
        file.write_text(json.dumps(boxes))
        results.keep_detections(trial, file)
    return results


@pytest.fixture
def gains(results, data_root):
    return measure(results, CHOICE, Samples(results, samples=200), Places(Path("work"), data_root, Path("weights.pth")))


def test_kept_detections_are_rounded(results):
    trial = Trial("bccd", BEST, 0, LONGER)
    boxes = json.loads(gzip.decompress(results.detections(trial).read_bytes()))
    assert len(boxes) == 5
    assert boxes[0] == dict(image_id=0, bbox=[8.0, 8, 40, 40], score=0.9123, category_id=1)


def test_gains_are_those_of_the_detections(gains):
    (of_pair,) = gains.values()
    assert (of_pair.images, of_pair.teacher) == (IMAGES, 0.875)
    seeds = {name: gain.seeds for name, gain in of_pair.methods.items()}
    other_teachers = {f"{DEFAULT}, seed {seed} of the teacher": 5 for seed in (1, 2)}
    assert seeds == {ALONE: 10, DEFAULT: 10, "DIST": 5} | other_teachers
    assert [of_pair.methods[name].epochs for name in (ALONE, DEFAULT, "DIST")] == [60, 120, 120]
    ap = {name: gain.ap[0] for name, gain in of_pair.methods.items()}
    # recall of k of 6 images at full precision: the share of the 101 recall thresholds up to k / 6
    share = {k: (np.linspace(0, 1, 101) <= k / IMAGES).mean() for k in range(2, 6)}
    assert ap[ALONE] == pytest.approx((share[3] + share[2]) / 2)
    assert ap[DEFAULT] == pytest.approx((share[5] + share[4]) / 2)
    assert ap["DIST"] == pytest.approx((3 * share[4] + 2 * share[3]) / 5)
    default = of_pair.methods[DEFAULT]
    assert default.over_student[0] == pytest.approx(ap[DEFAULT] - ap[ALONE]) and default.default_over is None
    assert of_pair.methods[ALONE].over_student is None
    # the rival's five seeds against the same five of the default
    assert of_pair.methods["DIST"].default_over[0] == pytest.approx((3 * share[5] + 2 * share[4]) / 5 - ap["DIST"])


def test_a_method_or_pair_that_is_not_tested_whole_is_left_out(results, data_root):
    def without(trial: Trial) -> dict[str, Gains]:
        rows = results.rows("bccd")
        row = rows.pop(trial.name)
        (results.folder / "bccd.json").write_text(json.dumps(rows))
        found = measure(results, CHOICE, Samples(results, samples=2), Places(Path("work"), data_root, Path("weights")))
        results.write(trial, row)
        return found

    of_pair = without(Trial("bccd", RIVAL, 4, LONGER))["bccd"]
    assert of_pair.left == ["DIST"] and "DIST" not in of_pair.methods and DEFAULT in of_pair.methods
    assert without(Trial("bccd", BEST, 9, LONGER)) == {}


def test_an_interval_is_that_of_the_report(gains, results, data_root):
    config = Trial("bccd", Setting(), 0, STUDENT).config(Places(Path("work"), data_root, Path("weights.pth")))
    samples = Samples(results, samples=200)
    sides = [
        np.stack([samples.of(Trial("bccd", setting, seed, student), config) for seed in range(10)], axis=1)
        for setting, student in ((Setting(), STUDENT), (BEST, LONGER))
    ]
    wanted = estimate(sides, paired=True)
    assert gains["bccd"].methods[DEFAULT].over_student == (wanted.value, wanted.low, wanted.high)
    assert wanted.low < wanted.value < wanted.high


def test_gains_are_read_as_they_were_written(gains, tmp_path):
    write(gains, tmp_path / "gains.json")
    found = read(tmp_path / "gains.json")["bccd"]
    assert found.methods.keys() == gains["bccd"].methods.keys()
    assert found.methods[DEFAULT].over_student == pytest.approx(gains["bccd"].methods[DEFAULT].over_student, abs=1e-5)
    assert read(tmp_path / "none.json") == {}


def made(**leads: tuple[float, float, float]) -> dict[str, Gains]:
    """Invented gains by pair: of the default over the student, and of it over the rival."""
    return {
        pair.replace("_", "-"): Gains(
            72,
            0.5,
            {
                ALONE: Gain("plain", 60, 10, (0.4, 0.39, 0.41)),
                DEFAULT: Gain("both-heads_r1", 120, 10, (0.44, 0.43, 0.45), (gain, gain - 0.01, gain + 0.01)),
                "L2": Gain(
                    "l2_r1", 120, 5, (0.43, 0.42, 0.44), (gain - lead, 0.0, 0.1), (lead, lead - half, lead + half)
                ),
            },
            [],
        )
        for pair, (gain, lead, half) in leads.items()
    }


def test_outcomes_are_those_of_the_protocol():
    good = made(
        bccd=(0.04, 0.01, 0.02), deeppcb=(0.03, 0.01, 0.02), deeppcb_imagenet=(0.02, 0, 0.1), digits=(0.03, 0, 0.1)
    )
    claim, target, *rivals = outcomes(good)
    assert claim.endswith("on 4 of 4 pairs (bccd, deeppcb, deeppcb-imagenet, digits): the claim stands.")
    assert "digits is met" not in target and "is met: met on bccd, deeppcb, deeppcb-imagenet, digits" in target
    assert not rivals
    poor = made(
        bccd=(0.02, -0.03, 0.02), deeppcb=(0.00, -0.03, 0.02), deeppcb_imagenet=(-0.01, 0.1, 0.1), digits=(0.0, 0, 0.1)
    )
    claim, target, rival = outcomes(poor)
    assert claim.endswith("on 1 of 4 pairs (bccd): the claim shrinks to bccd.")
    assert target.endswith("is missed: met on none, below 0 on deeppcb-imagenet.")
    assert rival == "L2 is ahead of the default by its lower bound on 2 pairs, by its mean on 2."


def test_nothing_follows_while_trainings_are_left():
    gains = made(bccd=(0.04, 0.01, 0.02), deeppcb=(0.03, 0.01, 0.02), digits=(0.03, 0, 0.1))
    gains["bccd"].left.append("PKD")
    assert outcomes(gains) == ["The outcome is open. Trainings are left: deeppcb-imagenet, PKD on bccd."]


def test_the_tables_have_the_gains(tmp_path):
    gains = made(bccd=(0.04, 0.01, 0.02), digits=(0.005, 0.01, 0.02))
    text = page.page(Results(tmp_path), gains)
    assert "| L2 | l2_r1 | 120 | 5 | 0.430 | +0.030 (+0.000 to +0.100) | +0.010 (-0.010 to +0.030) |" in text
    for name in first_pages.PAGES:
        (tmp_path / name).write_text("before\n<!-- gains -->\nold\n<!-- end of gains -->\nafter\n")
    first_pages.update(gains, tmp_path)
    lines = (tmp_path / "README.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after") and "old" not in lines
    assert "| BCCD: blood cells, 10 seeds | 0.500 | 0.400 | 0.440 | 60, 120 | **+0.040** (+0.030 to +0.050) |" in lines
    assert (
        "| Digits drawn on photographs, 10 seeds | 0.500 | 0.400 | 0.440 | 60, 120 | +0.005 (-0.005 to +0.015) |"
        in lines
    )
    assert "10 个种子 | 0.500 | 0.400" in (tmp_path / "README_zh-CN.md").read_text()
    first_pages.update(gains, tmp_path)
    assert (tmp_path / "README.md").read_text().splitlines() == lines
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"README.md has 0 places for the gains: it needs <!-- gains -->"):
        first_pages.update(gains, tmp_path)


def test_the_first_pages_have_the_gains_of_the_results():
    gains = read(Results(page.FILE.parent / "results").gains_file)
    for name, words in first_pages.PAGES.items():
        assert not gains or first_pages.gains_table(gains, words) in (first_pages.ROOT / name).read_text()


def test_a_gain_is_plain_in_json(gains, tmp_path):
    write(gains, tmp_path / "gains.json")
    row = json.loads((tmp_path / "gains.json").read_text())["bccd"]["methods"][DEFAULT]
    assert row.keys() == {field.name for field in dataclasses.fields(Gain)}
