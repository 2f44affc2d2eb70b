"""A training whose teacher sees larger images."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet import distill
from pcka_mmdet.cli import main
from pcka_mmdet.demo.config import move_data_root
from pcka_mmdet.engine.checks.teacher_check import _evaluation
from pcka_mmdet.engine.neck_maps import maps_of_image
from pcka_mmdet.engine.recipe import distillation_config
from tests.integration.conftest import last_log


@pytest.fixture
def student(digit_scenes, tmp_path) -> Path:
    """The demo's student at 64 pixels, the half of the images' side."""
    config = Config.fromfile("configs/demo/student.py")
    move_data_root(config, str(digit_scenes))
    config.train_dataloader.dataset.pipeline.insert(2, dict(type="Resize", scale=(64, 64)))
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.pipeline[1].scale = (64, 64)
    config.train_dataloader.batch_size = 4
    config.train_cfg.update(max_epochs=1, val_interval=1)
    config.dump(tmp_path / "student.py")
    return tmp_path / "student.py"


@pytest.fixture
def scaled(student) -> Config:
    """Its distillation with a teacher that sees twice the size."""
    options = {"model.teacher_scale": 2}
    return distillation_config(str(student), "configs/demo/teacher.py", "random", options=options)[0]


def test_the_student_trains_and_is_tested_at_its_size(student, tmp_path):
    options = {"model.teacher_scale": 2}
    done = distill(student, "configs/demo/teacher.py", "random", tmp_path / "scaled", cfg_options=options)
    assert "recipe both-heads" in done.recipe
    log = last_log(tmp_path / "scaled")
    assert re.search(r"\| s8 +\| head 0, 8x8 +\| head 1 +\|", log)  # 64 pixels of the student, 128 of the teacher
    assert "similarity.cka: " in log
    records = [json.loads(line) for line in max((tmp_path / "scaled").glob("*/vis_data/scalars.json")).open()]
    measured = {key for record in records for key in record if key.startswith("similarity.cka_s")}
    assert {"similarity.cka_s8", "similarity.cka_s16", "similarity.cka_s32"} <= measured
    assert "similarity.cka_s8_teacher_s4" in measured and "similarity.cka_s8_teacher_s64" not in measured
    for name in ("student_config.py", "both-heads_teacher_student.py"):
        config = Config.fromfile(tmp_path / "scaled" / name)
        assert config.train_dataloader.dataset.pipeline[2].scale == (64, 64)
    weights = torch.load(done.last.checkpoint, weights_only=True)["state_dict"]
    plain = distill(student, "configs/demo/teacher.py", "random", tmp_path / "plain")
    assert weights.keys() == torch.load(plain.last.checkpoint, weights_only=True)["state_dict"].keys()


def test_maps_of_an_image_are_those_of_each_sides_size(scaled, digit_scenes):
    levels = maps_of_image(scaled, {}, next(digit_scenes.glob("val/*.png")))
    assert {name: maps["teacher"].shape[2:] for name, maps in levels.items()} == {
        "s8": (8, 8),
        "s16": (4, 4),
        "s32": (2, 2),
    }


def test_the_teacher_is_evaluated_at_its_size(scaled, tmp_path):
    scaled.work_dir = str(tmp_path)
    evaluation = _evaluation(scaled, None, scaled.model.teacher, "bbox_mAP")
    assert evaluation.val_dataloader.dataset.pipeline[1].scale == (128, 128)
    assert scaled.val_dataloader.dataset.pipeline[1].scale == (64, 64)


def test_a_plan_is_refused(scaled, tmp_path, capsys):
    scaled.dump(tmp_path / "scaled.py")
    with pytest.raises(SystemExit):
        main(["plan", str(tmp_path / "scaled.py")])
    assert "a plan is for teachers of the student's image size: set model.teacher_scale=1" in capsys.readouterr().err


def test_a_teachers_images_without_a_teacher(student, capsys):
    with pytest.raises(SystemExit):
        main(["train", str(student), "--teacher-scale", "2"])
    assert (
        "--teacher-scale is of a distillation's teacher: give --teacher and --teacher-ckpt" in capsys.readouterr().err
    )


@pytest.mark.full  # two processes; the test before has all that they do
def test_the_command(command, student, tmp_path):
    words = [student, "--teacher", "configs/demo/teacher.py", "--teacher-ckpt", "random", "--teacher-scale", "2"]
    said = command("tools/doctor.py", *words).stdout
    assert "error" not in said and "recipe both-heads" in said
