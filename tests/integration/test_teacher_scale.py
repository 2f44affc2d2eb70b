"""A training whose teacher sees larger images."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet import distill
from pcka_mmdet.demo.config import move_data_root
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


def test_the_student_trains_and_is_tested_at_its_size(student, tmp_path):
    options = {"model.teacher_scale": 2}
    done = distill(student, "configs/demo/teacher.py", "random", tmp_path / "scaled", cfg_options=options)
    assert "recipe both-heads" in done.recipe
    log = last_log(tmp_path / "scaled")
    assert re.search(r"\| s8 +\| head 0, 8x8 +\| head 1 +\|", log)  # 64 pixels of the student, 128 of the teacher
    assert "similarity.cka: " in log
    for name in ("student_config.py", "both-heads_teacher_student.py"):
        config = Config.fromfile(tmp_path / "scaled" / name)
        assert config.train_dataloader.dataset.pipeline[2].scale == (64, 64)
    weights = torch.load(done.last.checkpoint, weights_only=True)["state_dict"]
    plain = distill(student, "configs/demo/teacher.py", "random", tmp_path / "plain")
    assert weights.keys() == torch.load(plain.last.checkpoint, weights_only=True)["state_dict"].keys()


@pytest.mark.full  # two processes; the test before has all that they do
def test_the_command(command, student, tmp_path):
    words = [student, "--teacher", "configs/demo/teacher.py", "--teacher-ckpt", "random", "--teacher-scale", "2"]
    said = command("tools/doctor.py", *words).stdout
    assert "error" not in said and "recipe both-heads" in said
    failed = command("tools/train.py", student, "--teacher-scale", "2", check=False)
    assert failed.returncode == 2 and "teacher_scale" in failed.stderr
