"""Initial weights of a student: a checkpoint, its teacher's parts; and plain checkpoints in distillations."""

import copy

import pytest
import torch
from mmengine.runner import load_checkpoint

from pcka_mmdet.models import initial_weights
from tests.detectors import build, distillation, retinanet
from tests.runners import runner

NECK = "neck.fpn_convs.0.conv.weight"
HEAD = "bbox_head.retina_cls.bias"


@pytest.fixture
def plain(tmp_path):
    """A checkpoint of the student as MMDetection saves it, and its weights."""
    torch.manual_seed(1)
    detector = build(retinanet())
    for parameter in detector.parameters():
        torch.nn.init.normal_(parameter)
    path = tmp_path / "plain.pth"
    torch.save(dict(state_dict=detector.state_dict(), meta={}), path)
    return str(path), detector.state_dict()


def assert_equal(model, weights):
    for key, value in model.student.state_dict().items():
        assert torch.equal(value, weights[key]), key


def initialised(**options):
    model = build(distillation(**options))
    model.init_weights()
    return model


@pytest.fixture
def messages(monkeypatch):
    said = []
    for function in ("print_log", "warn"):
        monkeypatch.setattr(initial_weights, function, lambda text, *_: said.append(text))
    return said


def test_from_a_plain_checkpoint(plain, messages):
    path, weights = plain
    assert_equal(initialised(init_student=path), weights)
    assert f"{len(weights)} tensors loaded from {path!r} (sha256 " in messages[-1]


def test_from_a_distillations_checkpoint(plain, tmp_path):
    _, weights = plain
    state = {f"architecture.{key}": value for key, value in weights.items()}
    state["distiller.losses.x"] = torch.zeros(1)
    torch.save(dict(state_dict=state), tmp_path / "distillation.pth")
    assert_equal(initialised(init_student=str(tmp_path / "distillation.pth")), weights)


def test_a_head_for_other_classes_is_left_and_told(plain, messages):
    path, weights = plain
    student = retinanet()
    student["bbox_head"]["num_classes"] = 5
    model = initialised(architecture=student, init_student=path)
    assert torch.equal(model.student.state_dict()[NECK], weights[NECK])
    assert "not loaded from it: bbox_head.retina_cls.weight: shape (2, 16, 3, 3)" in messages[-1]


def test_a_checkpoint_of_something_else(tmp_path):
    torch.save(dict(state_dict={"layer.weight": torch.zeros(3)}), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"init_student .*other.pth' has nothing of the student, a RetinaNet: missing"):
        initialised(init_student=str(tmp_path / "other.pth"))
    with pytest.raises(FileNotFoundError, match=r"init_student .*none.pth' does not exist: give a file or a URL"):
        initialised(init_student=str(tmp_path / "none.pth"))


def test_parts_of_the_teacher(messages):
    model = initialised(inherit=("neck", "bbox_head"))
    student, teacher = model.student.state_dict(), model.teacher.state_dict()
    assert torch.equal(student[NECK], teacher[NECK]) and torch.equal(student[HEAD], teacher[HEAD])
    # lateral convolutions start from backbones of different widths
    assert (
        "11 of 14 tensors of 'neck' copied from the teacher; left as initialised: neck.lateral_convs.0." in messages[-2]
    )
    assert messages[-1] == "student: 8 of 8 tensors of 'bbox_head' copied from the teacher"


@pytest.mark.parametrize(
    "options, message",
    [
        (
            dict(inherit=["roi_head"]),
            r"inherit: the student has no 'roi_head'; it has \['data_preprocessor', 'backbone'",
        ),
        (
            dict(inherit="neck", architecture=retinanet(start_level=0)),
            r"the student's neck has strides \[4, 8, 16, 32\], the teacher's \[8, 16, 32, 64\], so 'neck' would be",
        ),
        (  # nothing of equal shape at all
            dict(inherit="bbox_head.cls_convs.0.conv", teacher=retinanet(channels=24)),
            "no tensor of .* has the same name and",
        ),
    ],
)
def test_parts_that_cannot_be_inherited(options, message):
    with pytest.raises(ValueError, match=message):
        initialised(**options)


def test_a_head_that_was_not_loaded_is_not_inherited(tmp_path):
    teacher = build(retinanet(width=12))
    state = {key: value for key, value in teacher.state_dict().items() if "retina_cls" not in key}
    torch.save(dict(state_dict=state), tmp_path / "teacher.pth")
    options = dict(teacher_ckpt=str(tmp_path / "teacher.pth"))
    with pytest.raises(
        ValueError, match="'bbox_head' of the teacher was not loaded in full: missing bbox_head.retina_c"
    ):
        initialised(inherit=["bbox_head"], **options)
    initialised(inherit=["neck"], **options)


def test_load_from_takes_a_plain_checkpoint(plain, tmp_path):
    path, weights = plain
    run = runner(distillation(), tmp_path / "run", load_from=path)
    run.load_or_resume()
    assert_equal(run.model, weights)


def test_load_from_a_checkpoint_with_nothing_of_the_student(tmp_path):
    torch.save(dict(state_dict={"layer.weight": torch.zeros(3)}, meta={}), tmp_path / "other.pth")
    run = runner(distillation(), tmp_path / "run", load_from=str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match="has nothing of the student, a RetinaNet: its keys are layer.weight. Give a"):
        run.load_or_resume()


def test_a_distillations_checkpoint_loads_as_ever(tmp_path):
    source, target = build(distillation()), build(distillation())
    torch.nn.init.normal_(source.distiller.losses["mimic_s8"].connector.weight)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / "checkpoint.pth")
    load_checkpoint(target, str(tmp_path / "checkpoint.pth"), strict=True)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key


def test_an_averaged_model_takes_a_plain_checkpoint(plain):
    """Within an average the distillation's keys begin with `module.`."""
    _, weights = plain
    average = torch.nn.Module()
    average.module = build(distillation())
    average.load_state_dict({f"module.{key}": value for key, value in weights.items()}, strict=False)
    assert_equal(average.module, weights)


def test_a_resumed_training_goes_on_with_its_own_weights(plain, tmp_path):
    path, weights = plain
    config = distillation(init_student=path, inherit=["bbox_head"])
    runner(copy.deepcopy(config), tmp_path, epochs=1).train()
    saved = torch.load(tmp_path / "epoch_1.pth")["state_dict"]
    run = runner(config, tmp_path, epochs=1, resume=True)
    run.train()  # no epoch is left
    assert run.epoch == 1
    assert_equal(run.model, {key.removeprefix("architecture."): value for key, value in saved.items()})
    assert not torch.equal(run.model.student.state_dict()[NECK], weights[NECK])
