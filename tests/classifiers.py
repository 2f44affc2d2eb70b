"""Classifiers that tests build, and a step of one."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.models import FPNDistill


def batch(side: int, classes: int) -> dict:
    from mmpretrain.structures import DataSample

    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(256, (3, side, side), generator=generator, dtype=torch.uint8) for _ in range(4)]
    samples = [DataSample(metainfo=dict(img_shape=(side, side))).set_gt_label(i % classes) for i in range(4)]
    return dict(inputs=inputs, data_samples=samples)


def build(path: Path) -> torch.nn.Module:
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    config = Config.fromfile(path)
    if is_distillation(config):
        config.model.teacher_ckpt = "random"
    return build_detector(config.model)


def a_step_and_a_prediction(path):
    """Build a config: a step reaches every parameter of the student, and a prediction has its classes."""
    model = build(path)
    student = model.student if isinstance(model, FPNDistill) else model
    classes = student.head.num_classes
    data = batch(32 if classes < 1000 else 224, classes)
    losses = model.train()(**model.data_preprocessor(data, True), mode="loss")
    total, log = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert [name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()] == []
    if student is not model:
        assert all(log[f"distill.loss_{key}"] > 0 for key in model.distiller.losses)
        assert all(p.grad is None for p in model.teacher.parameters())
    data = batch(data["inputs"][0].shape[1], classes)
    with torch.no_grad():
        first = model.eval()(**model.data_preprocessor(data, False), mode="predict")[0]
    assert first.pred_score.shape == (classes,)
