"""Configs of the benchmark's trainings, and the queue that runs them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from research.trainings.channels_last import ChannelsLastHook
from research.trainings.results import Places
from research.trainings.students import AFFINE, Student
from research.verdict.methods import Setting, grid
from research.verdict.pairs import PAIRS
from research.verdict.trials import Trial

PLACES = Places(Path("work"), Path("data"), Path("weights.pth"))
STUDENT = Student(6e-3, 24, 1e-1, "affine")
TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")


def config(setting: Setting, pair: str = "digits", student: Student | None = STUDENT):
    return Trial(pair, setting, 3, student).config(PLACES, TEACHER)


def test_the_setting_of_the_student_is_in_its_config():
    found = config(Setting())
    optimizer, (schedule,) = found.optim_wrapper.optimizer, found.param_scheduler
    assert (optimizer.lr, optimizer.weight_decay, schedule.eta_max) == (6e-3, 1e-1, 6e-3)
    assert found.train_cfg.max_epochs == schedule.total_steps == 24 and found.train_cfg.val_interval == 3
    assert found.randomness.seed == 3
    assert found.train_dataloader.dataset.pipeline[-2] == AFFINE
    assert config(Setting(), student=Student(6e-3, 24)).train_dataloader.dataset.pipeline[-2] != AFFINE


def test_the_distilled_student_trains_as_the_student_alone():
    alone, distilled = config(Setting()), config(Setting("both-heads", 0.3))
    assert distilled.model.architecture == alone.model and distilled.model.balance.ratio == 0.3
    assert distilled.model.teacher_precision == "bf16"
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader", "randomness"):
        assert distilled[key] == alone[key], key


def test_students_have_the_layout_of_fast_convolutions():
    """Teachers have not: theirs were trained before."""
    hook = dict(type="ChannelsLastHook")
    assert hook in config(Setting()).custom_hooks and hook in config(Setting("both-heads")).custom_hooks
    assert hook not in Trial.of_teacher("digits").config(PLACES).custom_hooks
    student = config(Setting())
    assert student.custom_imports.imports[-1] == "research.trainings.channels_last"
    model = build_detector(student.model)
    ChannelsLastHook().before_train(SimpleNamespace(model=model))
    images = torch.rand(2, 3, 128, 128)
    assert all(level.is_contiguous(memory_format=torch.channels_last) for level in model.extract_feat(images))


@pytest.mark.parametrize("size", [(17, 30), (16, 31)])
def test_the_layout_keeps_what_a_strided_convolution_computes(size):
    torch.manual_seed(0)
    reference = torch.nn.Conv2d(8, 16, 1, stride=2).double()
    images = torch.randn(2, 8, *size, dtype=torch.float64)
    expected = reference(images)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)

    convolution = torch.nn.Conv2d(8, 16, 1, stride=2)
    convolution.load_state_dict(reference.state_dict())
    ChannelsLastHook().before_train(SimpleNamespace(model=convolution))
    assert convolution.stride == (1, 1)
    found = convolution(images.float().contiguous(memory_format=torch.channels_last))
    found.backward(gradient.float())
    assert convolution.state_dict().keys() == reference.state_dict().keys()
    for mine, theirs in ((found, expected), (convolution.weight.grad, reference.weight.grad)):
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


def test_a_loss_beside_the_method_has_a_ratio_of_its_own():
    found = config(Setting("both-heads", 1.0, "finest", "l2", 0.3)).model
    assert found.balance.ratio == dict(own=1.0, head=1.0, beside=0.3)
    assert found.distiller.losses.beside.strides == (8,) and "strides" not in found.distiller.losses.own


def test_weights_of_both_sides_of_the_imagenet_pair():
    for trial in (Trial("deeppcb-imagenet", Setting(), 0, STUDENT), Trial("deeppcb-imagenet", Setting("teacher"), 0)):
        found = trial.config(PLACES)
        assert found.model.backbone.init_cfg.checkpoint == "weights.pth"


@pytest.mark.parametrize("pair", PAIRS)
def test_both_sides_of_a_pair_are_built(pair):
    init_default_scope("mmdet")
    for trial in (Trial(pair, Setting(), 0, STUDENT), Trial.of_teacher(pair)):
        found = trial.config(PLACES)
        detector = build_detector(found.model)
        classes = found.train_dataloader.dataset.metainfo.classes
        assert detector.bbox_head.num_classes == len(classes)


@pytest.mark.parametrize("setting", [s for s in grid(("two",)) if s.ratio == 1.0 and s.stop == 1], ids=lambda s: s.name)
def test_every_method_builds_on_the_digits(setting):
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = build_detector(config(setting).model)
    assert {term.sources.teacher for term in model.distiller.all_terms} <= {"neck", "head"}
    if setting.levels == "two" and setting.method != "mgd" and "heads" not in setting.method:
        assert {term.stride for term in model.distiller.all_terms if term.stride} <= {8, 16}


def test_the_teacher_has_its_own_folder_and_seed():
    student = Trial("deeppcb", Setting("l2", 1.0, "two"), 1000, STUDENT, teacher_seed=2)
    assert student.teacher == Trial("deeppcb", Setting("teacher"), 2)
    augmented, plain = (Trial.of_teacher(pair).config(PLACES) for pair in ("deeppcb", "deeppcb-imagenet"))
    assert augmented.model == plain.model and plain.model.backbone.type == "MobileNetV2"
    assert [config.optim_wrapper.optimizer.weight_decay for config in (augmented, plain)] == [0.01, 0.3]
    steps = [[step.type for step in config.train_dataloader.dataset.pipeline] for config in (augmented, plain)]
    assert steps[0] == [*steps[1][:-1], "RandomAffine", steps[1][-1]]
