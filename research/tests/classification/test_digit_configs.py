"""The classifiers of digits: built, a step, and a prediction; with no weight the student trains as it would alone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import is_distillation
from tests.classifiers import a_step_and_a_prediction, batch

pytest.importorskip("mmpretrain", reason="MMPretrain is not in this environment: make classification")

CONFIGS = sorted(Path("research/configs/classification/digits").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config(path):
    a_step_and_a_prediction(path)


def test_null_with_no_weight_the_student_trains_as_it_would_alone():
    states = []
    for name in ("student", "rcka"):
        config = Config.fromfile(f"research/configs/classification/digits/{name}.py")
        init_default_scope("mmpretrain")
        torch.manual_seed(0)
        if is_distillation(config):
            config.model.teacher_ckpt = "random"
            config.model.balance = dict(ratio=0.0)
        model = build_detector(config.model)
        model.init_weights()
        student = model.student if is_distillation(config) else model
        states.append({key: value.clone() for key, value in student.state_dict().items()})
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for _ in range(3):
            losses = model.train()(**model.data_preprocessor(batch(32, 10), True), mode="loss")
            OptimWrapper(optimizer).update_params(model.parse_losses(losses)[0])
        assert not is_distillation(config) or all(losses[f"distill.loss_{name}"] > 0 for name in ("features", "logits"))
        states.append(student.state_dict())
    initial, plain, _, distilled = states
    assert any(not torch.equal(value, initial[key]) for key, value in plain.items())
    assert all(torch.equal(value, distilled[key]) for key, value in plain.items())


def test_the_configs_preprocessor_is_the_students():
    """MMPretrain's models always have one, and the runner passes that of the config."""
    init_default_scope("mmpretrain")
    config = Config.fromfile("research/configs/classification/digits/kd.py")
    config.model.architecture.pop("data_preprocessor", None)
    config.model.update(teacher_ckpt="random", data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True))
    model = build_detector(config.model)
    for one in (model, model.student):
        assert one.data_preprocessor.mean.flatten().tolist() == [1, 2, 3] and one.data_preprocessor.to_rgb
