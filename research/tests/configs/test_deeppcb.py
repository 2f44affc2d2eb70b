"""The pair of research/configs/deeppcb/: buildable without network or data, comparable, and as the data are."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.schedule import training_iterations
from pcka_mmdet.demo.config import move_data_root
from research.data.deeppcb import CLASSES

DATA = Path("../shared/data/deeppcb")
SPLITS = {"train": 800, "val": 200, "test": 500}
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="DeepPCB is not in ../shared/data/deeppcb")


def config(method: str) -> Config:
    init_default_scope("mmdet")
    return Config.fromfile(f"research/configs/deeppcb/{method}.py")


@pytest.mark.parametrize("method", ["teacher", "student", "distilled"])
def test_a_training_step(method):
    settings = config(method).model
    if method == "teacher":
        settings.backbone.init_cfg = None
    elif method == "distilled":
        settings.teacher_ckpt = "random"
    trained = build_detector(settings).train()
    batch = demo_mm_inputs(2, [[3, 256, 256]] * 2, num_items=[3, 3], num_classes=len(CLASSES))
    total, log = trained.parse_losses(trained(**trained.data_preprocessor(batch, True), mode="loss"))
    total.backward()
    assert torch.isfinite(total)
    if method == "distilled":
        assert log["distill.loss_head"] > 0
        assert trained.distiller.balances["head"].averages[:, :2].min() > 0


def test_student_and_distilled_differ_in_the_distillation_alone():
    student, distilled = config("student").to_dict(), config("distilled").to_dict()
    assert distilled["model"]["architecture"] == student["model"]
    changed = {key for key in distilled if distilled[key] != student.get(key)}
    assert changed == {"model", "log_processor"}


def test_the_teacher_of_the_distillation_is_the_last_of_its_training():
    teacher, distilled = config("teacher"), config("distilled")
    assert distilled.model.teacher_ckpt == f"work_dirs/deeppcb/teacher/epoch_{teacher.train_cfg.max_epochs}.pth"
    assert teacher.param_scheduler[0].total_steps == teacher.train_cfg.max_epochs


@needs_data
def test_the_data_are_as_the_configs_say():
    for split, size in SPLITS.items():
        content = json.loads((DATA / f"{split}.json").read_text())
        assert len(content["images"]) == size
        assert tuple(category["name"] for category in content["categories"]) == CLASSES == config("student").classes
        assert {(image["width"], image["height"]) for image in content["images"]} == {(320, 320)}
    settings = config("student")
    move_data_root(settings, str(DATA))
    assert training_iterations(settings) == 100 * settings.max_epochs
