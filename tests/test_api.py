"""The students that `distill` returns, from a training's folder; whole trainings are in tests/integration."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook

from pcka_mmdet.api import Distilled, Student, _students, distill
from pcka_mmdet.configuration.detector import build_detector


@pytest.fixture
def runner(tmp_path):
    """A training of three epochs whose second was the best."""
    log = tmp_path / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    records = [{"coco/bbox_mAP": value, "step": epoch} for epoch, value in ((1, 0.1), (2, 0.3), (3, 0.2))]
    (log / "scalars.json").write_text("\n".join(map(json.dumps, records)))
    for name in ("student_best_coco_bbox_mAP_epoch_2.pth", "student_epoch_3.pth"):
        (tmp_path / name).touch()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_3.pth"))
    hook = CheckpointHook(save_best="auto")
    hook.best_ckpt_path = str(tmp_path / "best_coco_bbox_mAP_epoch_2.pth")
    return SimpleNamespace(hooks=[hook], work_dir=str(tmp_path))


def test_the_best_and_the_last_have_their_own_metrics(runner, tmp_path):
    best = Student(tmp_path / "student_best_coco_bbox_mAP_epoch_2.pth", {"bbox_mAP": 0.3})
    last = Student(tmp_path / "student_epoch_3.pth", {"bbox_mAP": 0.2})
    assert _students(runner) == (best, last)
    done = Distilled(tmp_path, best, last, "")
    assert (done.checkpoint, done.metrics) == (best.checkpoint, best.metrics)
    done = Distilled(tmp_path, None, last, "")
    assert (done.checkpoint, done.metrics) == (last.checkpoint, last.metrics)


def test_a_training_that_keeps_one_of_them(runner, tmp_path):
    (tmp_path / "last_checkpoint").unlink()
    best, last = _students(runner)
    assert best.metrics == {"bbox_mAP": 0.3} and last is None
    runner.hooks[0].best_ckpt_path = None
    with pytest.raises(ValueError, match="keeps no checkpoint: set default_hooks.checkpoint"):
        _students(runner)
    (tmp_path / "last_checkpoint").write_text("epoch_4.pth")
    with pytest.raises(ValueError, match="the checkpoint hook of '.*', CheckpointHook, writes no student"):
        _students(runner)
    (tmp_path / "student_epoch_4.pth").touch()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_4.pth"))
    assert _students(runner) == (None, Student(tmp_path / "student_epoch_4.pth", {}))


def test_a_teacher_with_another_number_of_classes_than_its_weights(tmp_path):
    weights = build_detector(dict(cfg_path="configs/demo/teacher.py", bbox_head=dict(num_classes=4))).state_dict()
    torch.save(weights, tmp_path / "teacher.pth")
    with pytest.raises(ValueError, match="the teacher's config has 10 classes, and its weights '.*teacher.pth' have 4"):
        distill("configs/demo/student.py", "configs/demo/teacher.py", tmp_path / "teacher.pth", tmp_path / "work")
    assert not (tmp_path / "work").exists()
