"""The benchmark of few labels: its trainings, and its steps of choice on invented results."""

import json
from dataclasses import asdict
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.demo.digit_scenes import SIZES
from research import pair_folder
from research.few_labels import page
from research.few_labels.protocol import (
    CHOOSING_SEEDS,
    STEPS,
    chosen,
    settings,
    soft_teacher_of_equal_time,
    trials,
)
from research.few_labels.sets import SETS, WHOLE
from research.few_labels.soft_teacher import soft_teacher
from research.few_labels.trials import METHODS, Trial
from research.tests.invented import Invented
from research.trainings.frozen import Frozen, OnTest
from research.trainings.results import Missing, Places, Results
from research.trainings.students import Student, side_config
from research.verdict import protocol as verdict

SETTING, TEACHER = Student(3e-3, 4), Student(3e-3, 2)


@pytest.fixture
def places(tmp_path, digit_scenes, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit_scenes").symlink_to(digit_scenes)
    monkeypatch.setattr("research.data.few.LISTS", tmp_path)
    names = [
        image["file_name"] for image in json.loads((digit_scenes / "annotations/train.json").read_text())["images"]
    ]
    (tmp_path / "digits_25.txt").write_text("\n".join(names[:3]))
    return Places(tmp_path / "work", tmp_path / "data", tmp_path / "weights.pth")


def training(places, method: str, **options):
    return Trial(
        "digits-25", method, 0, SETTING, None if method in ("alone", "teacher") else TEACHER, **options
    ).training(places)


def test_the_student_alone_sees_the_labelled_images_only(places):
    alone = training(places, "alone")
    root = places.data_root / "digit_scenes-25"
    assert len(json.loads((root / "annotations/train.json").read_text())["images"]) == 3
    assert Path(alone.config.train_dataloader.dataset.data_root) == root and not alone.requires and not alone.options
    assert alone.config.train_cfg.max_epochs == 4


@pytest.mark.parametrize(
    ("method", "distils", "extra", "requires"),
    [
        ("boxes", False, "pseudo.json", "Labelling"),
        ("distilled", True, None, "Training"),
        ("distilled-images", True, "rest.json", "Training"),
        ("distilled-boxes", True, "pseudo.json", "Labelling"),
    ],
)
def test_what_each_method_reads(places, method, distils, extra, requires):
    found = training(places, method, share=0.75)
    assert (found.config.model.type == "pcka_mmdet.FPNDistill") == distils
    assert [type(stage).__name__ for stage in found.requires] == [requires]
    if extra is None:
        assert not found.options
    else:
        flag, source, of_share, share = found.options
        file, _, folder = source.rpartition(":")
        assert (flag, of_share, share, Path(file).name) == ("--extra", "--extra-share", "0.75", extra)
        assert folder == str(places.data_root / "digit_scenes-25" / "train")
    arguments = found.arguments()
    assert (
        arguments[:3] == ["-m", "pcka_mmdet", "train"] and arguments[-len(found.options) :] == list(found.options)
    ) or extra is None


def test_the_boxes_are_those_of_the_teacher_of_few_labels(places):
    (labelling,) = training(places, "boxes").requires
    (teacher,) = labelling.requires
    assert teacher.name == "digits-25 teacher_lr0.003_e2_wd0.01_base_seed0"
    words = labelling.arguments()
    assert words[2:5] == ["pseudo-label", str(teacher.config_file), str(teacher.checkpoint)]
    assert words[5].startswith(str(places.data_root / "digit_scenes-25/annotations/rest.json:"))
    assert words[-2:] == ["--out", str(labelling.file)]


def test_a_trial_is_read_from_its_row():
    trial = Trial("bccd-25", "boxes", 3, SETTING, TEACHER, 0.75)
    assert Trial.of_row(json.loads(json.dumps(dict(trial=asdict(trial))))) == trial
    assert trial.name == "boxes_share0.75_lr0.003_e4_wd0.01_base_of_lr0.003_e2_wd0.01_base_seed3"


def test_students_are_those_of_the_tuned_benchmark():
    results = Results(Path(verdict.__file__).parent / "results")
    compared = []
    for name, whole in WHOLE.items():
        try:
            tuned = verdict.tuned_student(results, name)
        except Missing:  # not tuned yet
            continue
        compared.append(name)
        assert whole.student == tuned, name
    assert {"bccd", "deeppcb"} <= set(compared)


def test_few_labels_train_for_as_many_iterations_as_all():
    assert settings(Student(1e-3, 60), 4, (1, 2)) == [
        Student(1e-3, epochs, augmentation=one) for epochs in (240, 120) for one in ("base", "affine")
    ]
    assert {SETS[f"bccd-{percent}"].passes for percent in (25, 10)} == {4, 10}


def test_the_choice_is_the_best_on_val():
    def value(trial: Trial) -> float:
        shorter = -0.0001 * trial.setting.epochs  # the student alone overfits
        return shorter + 0.1 * (trial.setting.augmentation == "affine") + 0.01 * (trial.share == 0.75)

    results = Invented(value)
    found = trials(results, "bccd-10")
    of_method = {method: [trial for trial in found if trial.method == method] for method in [*METHODS, "teacher"]}
    methods = ("alone", "distilled", "distilled-boxes")
    assert {method for method, of in of_method.items() if of} == {*methods, "teacher"}
    assert all([trial.seed for trial in of_method[method]] == [0, 1, 2] for method in methods)
    assert of_method["alone"][0].setting == Student(0.048, 150, 0.1, "affine")
    for method in methods[1:]:
        assert of_method[method][0].setting == Student(0.048, 600, 0.1, "affine")  # as many iterations as all labels
    assert (
        of_method["distilled"][0].teacher_setting
        == of_method["teacher"][0].setting
        == Student(1e-3, 400, augmentation="affine")
    )
    assert of_method["distilled-boxes"][0].share == 0.75
    # a tenth takes over what a quarter chooses
    assert {trial.pair for trial in results.asked if trial.method != "alone"} == {"bccd-25"}
    assert {trial.seed for trial in results.asked if trial.method != "teacher"} == set(CHOOSING_SEEDS)


def test_test_is_read_of_the_frozen_choice_alone(tmp_path, monkeypatch):
    frozen = Frozen(tmp_path / "choice.json", chosen, Trial.of_row)
    results = Invented(lambda trial: trial.setting.epochs / 1000)
    frozen.test(results)  # nothing is frozen: no test
    frozen.freeze(results)
    tested = []
    monkeypatch.setattr(Invented, "test", lambda self, trials: tested.extend(trials))
    frozen.test(results)
    assert len(tested) == sum(1 + len(one.methods) * one.seeds for one in SETS.values()) == 112
    assert all(trial.tested for trial in tested)
    with pytest.raises(ValueError, match="is not what the results on val choose"):
        frozen.test(Invented(lambda trial: -trial.setting.epochs))


def test_the_steps_ask_for_all_sets(tmp_path):
    asked = set()
    for step in STEPS:
        try:
            step(Results(tmp_path))
        except Missing as missing:
            asked |= {trial.pair for trial in missing.trials}
    assert asked == set(SETS) and len(SETS) == 2 * len(WHOLE) + 2


def test_the_page_has_the_choices(tmp_path):
    results = Results(tmp_path)
    for seed, value in ((1000, 0.25), (1001, 0.35), (0, 0.9)):
        trial = Trial("bccd-25", "alone", seed, SETTING)
        results.write(trial, dict(trial=asdict(trial), val=value))
    text = page.page(results, Places(tmp_path, tmp_path, tmp_path))
    assert "| alone | 0.003 | 4 | base |  |  | 2 | 0.300 |" in text and "## On test" not in text


def test_how_far_it_is_to_all_labels():
    def on_test(gain: float) -> OnTest:
        values = {"alone": 0.4, "distilled-boxes": 0.4 + gain}
        return OnTest(72, 0.5, {name: {seed: np.full(5, value) for seed in range(2)} for name, value in values.items()})

    limits = dict(bccd=0.5, deeppcb=0.5, digits=0.5)
    found = {pair: on_test(0.075) for pair in ("bccd-25", "bccd-10", "bccd-two-stages-25", "digits-100")}
    title, *sentences, target = page.outcomes(found, limits)
    assert title == "## Outcomes\n"
    assert sentences == [
        f"- {pair}: +0.075, 75% of the way to all labels (0.500).\n" for pair in ("bccd-25", "bccd-10")
    ]
    assert target.endswith("of the labels on 2 sets, is missed: met on bccd-25.\n")
    for gain, outcome in ((0.0, "missed: met on bccd-25"), (0.065, "met: met on bccd-25, deeppcb-25")):
        assert [*page.outcomes(found | {"deeppcb-25": on_test(gain)}, limits)][-1].endswith(f"is {outcome}.\n")
    assert not list(page.outcomes(found, {}))


def test_the_further_scenes_are_not_labelled():
    of_set = SETS["digits-100"]
    assert of_set.passes == 1 and of_set.sizes == {"train": 3000, "val": 150, "test": 250}
    assert of_set.labelled()[::999] == ["000000.png", "000999.png"] and len(of_set.labelled()) == 1000
    assert SETS["digits-10"].sizes == SIZES and len(SETS["digits-10"].labelled()) == 100


def test_soft_teacher_trains_as_long_as_the_distillation():
    results = Invented(lambda trial: 0.4 + trial.share / 10 + trial.momentum)
    rows = results.rows
    results.rows = lambda pair: {name: dict(seconds=50.0 if "soft" in name else 100.0) for name in rows(pair)}
    trial = soft_teacher_of_equal_time(results, "bccd-two-stages-25")
    assert (trial.share, trial.momentum, trial.setting.epochs) == (0.75, 1e-2, 2 * 240)
    of_pair = trials(results, "bccd-two-stages-25")
    assert {one.setting.learning_rate for one in of_pair if one.method != "teacher"} == {0.024}  # not BCCD's 0.048
    assert trial.teacher is None and trial.name.startswith("soft-teacher_share0.75_momentum0.01_")
    of_results = [one for one in trials(results, "bccd-two-stages-25") if one.method == "soft-teacher"]
    assert [one.seed for one in of_results] == [0, 1, 2] and of_results[0].setting == trial.setting


def test_soft_teacher_takes_a_step(tmp_path):
    """MMDetection's model on the student's detector; its averaged model is tested."""
    init_default_scope("mmdet")
    config = side_config(pair_folder("bccd/two_stage"), "student", tmp_path, 0, 2, tmp_path / "weights.pth")
    soft_teacher(config, f"{tmp_path}/rest.json:{tmp_path}/images", 0.75, 0.01)
    assert config.train_dataloader.sampler.extra == 6 and config.custom_hooks[-1].type == "MeanTeacherHook"
    labelled, others = config.train_dataloader.dataset.datasets
    packed = others.pipeline[-1]
    assert {branch: packed[branch][0]["type"] for branch in ("unsup_teacher", "unsup_student")} == dict(
        unsup_teacher="Resize", unsup_student="Resize"
    )
    pipelines = [Compose(pipeline) for pipeline in (labelled.pipeline, others.pipeline)]
    image, instance = tmp_path / "image.png", dict(bbox=[8, 8, 100, 90], bbox_label=0, ignore_flag=0)
    mmcv.imwrite(np.random.default_rng(0).integers(0, 255, (192, 256, 3)).astype(np.uint8), str(image))
    found = [
        pipeline(dict(img_path=str(image), img_id=0, height=192, width=256, instances=[dict(instance)]))
        for pipeline in pipelines
    ]
    model = build_detector(config.model).train()
    losses = model(**model.data_preprocessor(pseudo_collate(found), True), mode="loss")
    assert {"sup_loss_cls", "unsup_loss_cls"} <= losses.keys() and model.semi_test_cfg.predict_on == "teacher"
