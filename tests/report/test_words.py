"""The page's sentences on intervals, and the names of the sides."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from pcka_mmdet.report.page.scores import Estimate, Score, Scores, are_unlike
from pcka_mmdet.report.page.words import (
    DISTILLED,
    FEW_IMAGES,
    STUDENT,
    detector_name,
    headline,
    judge,
    named,
    notes,
    title,
)
from pcka_mmdet.report.run import Run

STUDENTS = {STUDENT: [], DISTILLED: []}
GAIN, LOSS, NEITHER = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)


def scores(ends, trainings=3, images=FEW_IMAGES, value=0.4):
    whole = Score("all", [Estimate(value, 0.3, 0.5)] * 2, ends and Estimate(sum(ends) / 2, *ends))
    return Scores(whole, [], [], None, images, trainings, "seeds", paired=True)


def run(name, distils=False, depth=18):
    detector = dict(type="RetinaNet", backbone=dict(depth=depth))
    return Run(
        Path(name), Config(dict(model=dict(architecture=dict(detector, init_cfg=None)) if distils else detector))
    )


@pytest.mark.parametrize(
    ("ends", "kind", "begin"),
    [
        (GAIN, "good", "Distillation helped: the gain is larger than chance among seeds and test images explains."),
        (LOSS, "bad", "Distillation did harm: the loss is larger than chance among seeds and test images explains."),
        (NEITHER, "note", "No clear difference: seeds and test images allow for a gain as well as for a loss."),
    ],
)
def test_verdicts_of_several_seeds(ends, kind, begin):
    assert judge(STUDENTS, scores(ends)) == (begin, kind)


def test_one_training_a_side_gives_no_verdict():
    """It only says how far the difference depends on the test images."""
    advice = "compare 3 seeds a side or more."
    expected = {
        GAIN: f"Other test images would hardly turn this gain around, but other seeds may: {advice}",
        LOSS: f"Other test images would hardly turn this loss around, but other seeds may: {advice}",
        NEITHER: f"Other test images alone could turn it around: {advice}",
    }
    for ends, text in expected.items():
        verdict = judge(STUDENTS, scores(ends, trainings=1))
        assert verdict == (f"One training a side gives no verdict. {text}", "note")


def test_few_images_get_no_verdict():
    """Samples of one image are all alike, so their interval has no width."""
    text, kind = judge(STUDENTS, scores(GAIN, images=1))
    assert kind == "note" and text.startswith("Too few test images (1) to tell a gain from chance: test on 20 or more.")


def test_detectors_that_have_not_learned():
    text = "learned (AP below 0.02): train longer."
    assert judge(STUDENTS, scores(GAIN, value=0.019)) == (f"Neither has {text}", "note")
    single = Scores(Score("all", [Estimate(0.001, 0, 0.01)], None), [], [], None, 50, 1, "seeds", False)
    assert judge({DISTILLED: []}, single) == (f"The detector has not {text}", "note")
    assert judge(STUDENTS, scores(GAIN, value=0.021))[1] == "good"


def test_a_loss_of_nothing_has_no_sign():
    assert ": +0.000 (+0.000 to +0.000 over" in headline(STUDENTS, scores((-1e-4, -1e-4)))


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
    assert headline(sides, scores(GAIN)).startswith("both reaches AP 0.400, mgd 0.400: +0.020 (")


def test_the_title_names_detectors_and_data():
    def config(model, **test):
        return Run(Path("a"), Config(dict(model=model, test_dataloader=dict(dataset=test))))

    student = dict(type="mmdet.RetinaNet", backbone=dict(type="ResNet", depth=18))
    teacher = dict(type="FasterRCNN", backbone=dict(type="SwinTransformer", depths=[2, 2]))
    plain = config(student, data_root="data/cells/", ann_file="test.json")
    distilled = config(dict(architecture=student, teacher=teacher), ann_file="data/coco/val2017.json")
    name = "RetinaNet (ResNet-18)"
    assert title({STUDENT: [plain], DISTILLED: [distilled]}) == (
        f"What distillation did: {name}, taught by FasterRCNN (SwinTransformer), on val2017"
    )
    assert title({"the detector": [plain]}) == f"What the training did: {name}, on cells"
    assert title({"a": [plain], "b": [plain]}) == "Two trainings compared on cells"
    assert detector_name("work/gone.py") == "gone" and detector_name(dict(cfg_path="mine.py")) == "mine"
    small = dict(type="RTMDet", backbone=dict(type="CSPNeXt", widen_factor=0.375))
    assert detector_name(small) == "RTMDet (CSPNeXt-0.375)" and detector_name(dict(type="DETR")) == "DETR"
    thin = dict(type="RetinaNet", backbone=dict(type="ResNet", depth=18, base_channels=12))
    assert detector_name(thin) == "RetinaNet (ResNet-18, 12 channels)"


def test_a_test_on_the_validation_set_is_noted():
    loader = dict(dataset=dict(type="CocoDataset", data_root="data/", ann_file="val.json"))
    config = Config(dict(model=dict(type="A"), val_dataloader=loader, test_dataloader=loader))
    (text,) = notes({STUDENT: [Run(Path("a"), config)]}, [])
    assert text.startswith("The test images are those of val: ")
    config.test_dataloader.dataset.ann_file = "test.json"
    assert notes({STUDENT: [Run(Path("a"), config)]}, []) == []


def test_trainings_of_different_length_are_noted(tmp_path):
    """By their logs, since a training may have been killed."""

    def trained(name, **last):
        log = tmp_path / name / "1" / "vis_data"
        log.mkdir(parents=True)
        (log / "scalars.json").write_text(f"{json.dumps(dict(iter=5, epoch=1))}\n{json.dumps(dict(iter=90) | last)}\n")
        return replace(run(name), folder=tmp_path / name)

    plain, longer, unlogged = trained("plain", epoch=12), trained("longer", epoch=24), run("unlogged")
    assert notes({STUDENT: [plain], DISTILLED: [plain, unlogged]}, []) == []
    assert notes({STUDENT: [plain], DISTILLED: [longer]}, []) == [
        "The trainings differ in length (12 epochs, 24 epochs), which changes the AP too."
    ]
    (text,) = notes({STUDENT: [plain], DISTILLED: [trained("iterations", epoch=0)]}, [])
    assert "(12 epochs, 90 iterations)" in text


def test_each_seed_may_have_its_own_teacher(tmp_path):
    """As those of two demos: another file, the same detector."""

    def distilled(name, depth):
        teacher = tmp_path / f"{name}.py"
        teacher.write_text(f"model = dict(type='RetinaNet', backbone=dict(depth={depth}))\nrandomness = dict(seed=1)")
        model = dict(architecture=dict(type="A"), teacher=dict(cfg_path=str(teacher)))
        return Run(Path(name), Config(dict(model=model)))

    first, second, deeper = distilled("a", 50), distilled("b", 50), distilled("c", 101)
    assert not are_unlike([first, second]) and are_unlike([first, deeper])
    (tmp_path / "b.py").unlink()
    assert are_unlike([first, second])


def test_extra_images_are_named():
    extra = dict(type="CocoDataset", data_prefix=dict(img="unlabelled"))
    loader = dict(
        batch_size=8,
        sampler=dict(type="pcka_mmdet.ExtraImagesSampler", batch_size=8, extra=4),
        dataset=dict(type="ConcatDataset", datasets=[dict(type="CocoDataset"), extra]),
    )
    mixed = Run(Path("a"), Config(dict(model=dict(type="RetinaNet"), train_dataloader=loader)))
    (text,) = notes({STUDENT: [run("b")], DISTILLED: [mixed, mixed]}, [])
    assert text == f"{DISTILLED}: 4 of 8 images in a batch are extra images of unlabelled."
