"""What the page's sentences say of intervals, and what they call the sides."""

from pathlib import Path

import pytest
from mmengine.config import Config

from pcka_mmdet.report.bootstrap import Estimate
from pcka_mmdet.report.page.scores import Score, Scores
from pcka_mmdet.report.page.words import DISTILLED, FEW_IMAGES, STUDENT, headline, judge, named, notes, title
from pcka_mmdet.report.run import Run
from pcka_mmdet.report.trials import Interval

STUDENTS = {STUDENT: [], DISTILLED: []}
GAIN, LOSS, NEITHER = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)


def scores(images, seeds=None, count=FEW_IMAGES):
    difference = Estimate(sum(images) / 2, *images)
    whole = Score("all", [Estimate(0.4, 0.3, 0.5)] * 2, difference)
    return Scores(whole, [], [], Interval(sum(seeds) / 2, *seeds) if seeds else None, count, True, True)


def run(name, distils=False, depth=18):
    detector = dict(type="RetinaNet", backbone=dict(depth=depth))
    return Run(
        Path(name), Config(dict(model=dict(architecture=dict(detector, init_cfg=None)) if distils else detector))
    )


@pytest.mark.parametrize(
    ("images", "seeds", "kind", "begin"),
    [
        (GAIN, None, "good", "Distillation helped: the gain is larger than chance among these images explains"),
        (GAIN, GAIN, "good", "Distillation helped: the gain is larger than chance among these images and the seeds"),
        (LOSS, LOSS, "bad", "Distillation did harm: the loss is larger than chance among these images and the seeds"),
        (NEITHER, None, "note", "No clear difference: these images allow for a gain as well as for a loss."),
        (NEITHER, NEITHER, "note", "No clear difference: these images and the seeds allow for a gain as well as"),
    ],
)
def test_intervals_that_agree(images, seeds, kind, begin):
    text, found = judge(STUDENTS, scores(images, seeds))
    assert text.startswith(begin) and found == kind


def test_few_images_get_no_verdict():
    """Samples of one image are all alike, so their interval has no width."""
    text, kind = judge(STUDENTS, scores(GAIN, count=1))
    assert kind == "note" and text.startswith("Too few test images (1) to tell a gain from chance: test on 20 or more.")


def test_both_are_said_where_the_seeds_allow_for_a_loss():
    text, kind = judge(STUDENTS, scores((0.006, 0.038), (-0.071, 0.115)))
    assert kind == "note" and text == (
        "No clear difference: the gain is larger than chance among these images explains, but the seeds allow for a "
        "gain as well as for a loss."
    )


def test_both_are_said_where_the_images_allow_for_a_gain():
    text, kind = judge(STUDENTS, scores(NEITHER, LOSS))
    assert kind == "note" and text == (
        "No clear difference: the loss is larger than chance among the seeds explains, but these images allow for a "
        "gain as well as for a loss."
    )


def test_a_loss_of_nothing_has_no_sign():
    assert ": +0.000 (+0.000 to +0.000 over" in headline(STUDENTS, scores((-1e-4, -1e-4)), None)


def test_sides_are_called_what_they_are():
    plain, distilled = [run("work/plain")], [run("work/both", True)]
    assert list(named(plain, distilled)) == [STUDENT, DISTILLED]
    assert list(named([run("work/teacher", depth=50)], distilled)) == ["teacher", "both"]
    assert list(named(distilled, [run("work/mgd", True)])) == ["both", "mgd"]
    assert list(named([run("work/longer")], plain)) == ["longer", "plain"]
    assert list(named([run("a/x", True)], [run("b/x", True)])) == ["x (baseline)", "x"]
    seeds = [[run(f"{name}_seed{seed}", True) for seed in (0, 1)] for name in ("pkd", "mgd")]
    assert list(named(*seeds)) == ["pkd", "mgd"]
    assert [list(named([], side)) for side in (distilled, plain)] == [[DISTILLED], ["the detector"]]


def test_a_student_that_is_named_by_its_file_counts_as_the_distillations():
    for architecture in ("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", dict(cfg_path="student.py")):
        distilled = Run(Path("work/both"), Config(dict(model=dict(architecture=architecture))))
        assert list(named([run("work/plain")], [distilled])) == [STUDENT, DISTILLED]


def test_a_mean_over_unlike_trainings_says_little():
    sides = {STUDENT: [run("a"), run("b")], DISTILLED: [run("both", True), run("deep", True, depth=50)]}
    assert notes(sides, [1, 2]) == [
        "Seeds of one side only are left out: 1, 2.",
        "A mean over the distilled student says little: these differ in more than their seeds: both, deep.",
    ]


def test_sides_of_one_training_each_need_no_note():
    assert notes({STUDENT: [run("a"), run("b")], DISTILLED: [run("both", True)]}, []) == []


def test_a_gain_over_another_distillation_is_not_that_of_distillation():
    sides = {"mgd": [run("mgd", True)], "both": [run("both", True)]}
    assert judge(sides, scores(GAIN))[0].startswith("both is better: the gain is larger than chance")
    assert judge(sides, scores(LOSS))[0].startswith("both is worse: the loss is larger than chance")
    assert headline(sides, scores(GAIN), None).startswith("both reaches AP 0.400, mgd 0.400: +0.020 (")
    assert title(sides) == "Two trainings compared" and title(STUDENTS) == "What distillation did"
