"""The benchmark of families: its trainings, and its steps of choice on invented results."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from research.families import page, protocol, trials
from research.families.pairs import METHODS, PAIRS
from research.families.trials import Trial
from research.tests.invented import Invented
from research.trainings.frozen import OnTest
from research.trainings.results import Missing, Places, Results
from research.trainings.students import Student

PLACES = Places(Path("work"), Path("data"), Path("weights.pth"))
STUDENT = Student(6e-3, 4)


def invented(teacher: float = 0.6) -> Invented:
    def value(trial: Trial) -> float:
        if trial.student is None:
            return teacher
        student = trial.student
        rate = 0.01 * ((student.learning_rate == 2.4e-2) + (student.decay == 0.1) - (student.epochs > 60))
        return 0.4 + rate + {"finest": 0.02, "predictions": 0.05}.get(trial.method, 0)

    return Invented(value)


def test_the_student_is_tuned_alone():
    results = invented()
    assert protocol.tuned_student(results, "fcos-retinanet") == Student(2.4e-2, 60, 0.1)
    assert {trial.method for trial in results.asked} == {"alone"} and {trial.seed for trial in results.asked} == {1000}


def test_the_better_half_of_the_methods_is_trained_again():
    results = invented()
    best = protocol.best_methods(results, "fcos-retinanet")
    assert best[:2] == ["predictions", "finest"] and len(best) == 4
    assert [trial.method for trial in results.asked if trial.seed == 1001] == best
    (alone, method) = {trial.method for trial in protocol.trials(results, "fcos-retinanet") if trial.student}
    assert {alone, method} == {"alone", "predictions"}


def test_the_second_set_takes_over_the_best_method_of_the_first():
    results = invented()
    assert protocol.best_methods(results, "rtmdet-deeppcb") == ["predictions"]
    found = protocol.trials(results, "rtmdet-deeppcb")
    assert [trial.method for trial in found if trial.student] == 3 * ["alone", "predictions"]
    asked = {(trial.method, trial.seed) for trial in results.asked if trial.pair == "rtmdet-deeppcb" and trial.student}
    assert asked == {("alone", 1000), ("predictions", 1000)}


@pytest.mark.parametrize("pair", ["rtmdet", "yolox"])
def test_a_replaced_head_has_the_sizes_and_classes_of_its_new_detector(pair):
    init_default_scope("mmdet")
    for method, student, channels in (("alone", STUDENT, 32), ("teacher", None, 64)):
        model = Trial(f"{pair}-deeppcb", method, 0, student).config(PLACES).model
        other = Trial(pair, method, 0, student).config(PLACES).model
        assert model.type == other.type and model.train_cfg == other.train_cfg
        assert model.bbox_head.type == other.bbox_head.type
        assert (model.bbox_head.num_classes, model.bbox_head.feat_channels) == (6, channels)
        model.backbone.pop("init_cfg", None)
        detector = build_detector(model).train()
        batch = demo_mm_inputs(2, [[3, 64, 64]] * 2, num_items=[3, 3], num_classes=6)
        total, _ = detector.parse_losses(detector(**detector.data_preprocessor(batch, True), mode="loss"))
        assert torch.isfinite(total)


def test_replaced_detectors_have_the_classes_of_their_new_data():
    init_default_scope("mmdet")
    for method, student, rate in (("alone", STUDENT, 6e-3), ("teacher", None, 1e-3)):
        config, other = (Trial(pair, method, 0, student).config(PLACES) for pair in ("dino-digits", "dino"))
        assert config.model.bbox_head.pop("num_classes") == 10 and other.model.bbox_head.pop("num_classes") == 3
        assert config.model == other.model
        assert config.optim_wrapper.optimizer.lr == config.param_scheduler[0].eta_max == rate
        assert "research.thin_dino" in config.custom_imports["imports"]
        assert config.train_dataloader.dataset.data_root == "data/digit_scenes/"


def test_a_pair_whose_teacher_is_not_ahead_has_no_results():
    assert protocol.trials(invented(teacher=0.44), "rtmdet") == []
    assert len(protocol.trials(invented(teacher=0.46), "rtmdet")) == 11


@pytest.mark.parametrize("pair", PAIRS)
def test_every_method_of_a_pair_builds(pair, monkeypatch):
    init_default_scope("mmdet")
    teacher = Trial(pair, "teacher", 0).config(PLACES)
    teacher.model.backbone.pop("init_cfg", None)
    for method in PAIRS[PAIRS[pair].methods_of or pair].methods:
        config = Trial(pair, "alone", 0, STUDENT).config(PLACES)
        sides = dict(teacher=teacher.model, teacher_ckpt="random", teacher_scale=PAIRS[pair].teacher_scale)
        METHODS[method].apply(config, **sides)
        torch.manual_seed(0)
        model = build_detector(config.model)
        assert model.distiller.all_terms


@pytest.mark.parametrize(("pair", "size"), [("retinanet-large", (512, 384)), ("deeppcb-large", (512, 512))])
def test_a_large_teacher_sees_twice_the_size_with_a_level_for_each_of_the_students(pair, size):
    config = Trial(pair, "teacher", 0).config(PLACES)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert [step["scale"] for step in loader.dataset.pipeline if step["type"] == "Resize"] == [size]
    assert config.model.bbox_head.anchor_generator.strides == [8, 16, 32, 64, 128]
    assert config.model.neck.num_outs == config.model.bbox_head.num_ins == 5
    assert Trial(pair, "teacher", 0)._owner.endswith("-large")


def test_the_steps_ask_for_all_pairs(tmp_path):
    asked = set()
    for step in protocol.STEPS:
        try:
            step(Results(tmp_path))
        except Missing as missing:
            asked |= {trial.pair for trial in missing.trials}
    assert asked == set(PAIRS)


def test_a_trial_is_read_from_its_row():
    for trial in (Trial("dino", "queries", 3, STUDENT), Trial("dino", "teacher", 0)):
        assert Trial.of_row(json.loads(json.dumps(dict(trial=asdict(trial))))) == trial


def test_the_page_has_the_choices(tmp_path):
    results = Results(tmp_path)
    for seed, value in ((1000, 0.25), (1001, 0.35), (0, 0.9)):
        trial = Trial("yolox", "own-head", seed, STUDENT)
        results.write(trial, dict(trial=asdict(trial), val=value))
    text = page.page(results, PLACES)
    assert f"| own-head | {STUDENT.name} | 2 | 0.300 |" in text and "## On test" not in text


def test_every_target_of_the_protocol_has_an_outcome():
    def on_test(gain: float, spread: float = 0.0) -> OnTest:
        by_sample = gain + spread * np.array([0.0, -1.0, 1.0, -1.0, 1.0])
        methods = {"alone": 0.4 + np.zeros(5), "both-heads": 0.4 + by_sample}
        return OnTest(72, 0.5, {name: dict.fromkeys(range(3), aps) for name, aps in methods.items()})

    assert not list(page.outcomes({}))
    title, *found = page.outcomes(
        {
            "retinanet": on_test(0.04),
            "fcos-retinanet": on_test(0.02),
            "retinanet-fcos": on_test(0.01),
            "faster-retinanet": on_test(0.02, 0.05),
            "yolox": on_test(0.004),
            "dino": on_test(0.021),
            "retinanet-dino": on_test(0.019),
            "retinanet-large": on_test(0.05),
        }
    )
    assert title == "## Outcomes\n" and len(found) == len(page.TARGETS) + 1
    of = dict(text.removeprefix("- ").split(": ", 1) for text in found if " has no results: " not in text)
    assert of["fcos-retinanet"] == "+0.020 (+0.020 to +0.020). The target, +0.015 with an interval above 0, is met.\n"
    met = {pair for pair, text in of.items() if text.endswith("is met.\n")}
    missed = {pair for pair, text in of.items() if text.endswith("is missed.\n")}
    assert met == {"fcos-retinanet", "yolox", "dino"}
    assert missed == {"retinanet-fcos", "faster-retinanet", "retinanet-dino"}
    assert "- rtmdet has no results: its teacher is less than 0.03 ahead of the student.\n" in found
    without_other = [*page.outcomes({"retinanet-large": on_test(0.05)})]
    assert "- retinanet has no results: its teacher is less than 0.03 ahead of the student.\n" in without_other
    assert not [text for text in without_other if " adds " in text]
    assert found[-1] == "- retinanet-large: the larger teacher adds +0.010 (+0.010 to +0.010).\n"


def test_pairs_share_the_trainings_of_a_detector_alone(monkeypatch):
    monkeypatch.setattr(trials, "Training", lambda name, folder, config, requires: (name, folder))

    def of(pair: str, method: str) -> tuple[str, Path]:
        return Trial(pair, method, 0, None if method == "teacher" else STUDENT).training(PLACES)

    assert of("fcos-retinanet", "alone") == of("faster-retinanet", "alone") != of("retinanet-fcos", "alone")
    assert of("retinanet-fcos", "teacher") == of("retinanet-dino", "teacher") != of("dino", "teacher")
    assert of("deeppcb", "teacher") != of("rtmdet-deeppcb", "teacher") != of("yolox-deeppcb", "teacher")
    assert of("retinanet-fcos", "alone")[1] == Path("work/bccd-fcos") / f"alone_{STUDENT.name}_seed0"
