"""How checkpoints are written and removed."""

import os

import pytest
import torch
from mmengine.runner import save_checkpoint

from pcka_mmdet.checkpoints.backend import BACKEND, CheckpointBackend


def test_mmengine_writes_by_it(tmp_path):
    save_checkpoint(dict(a=torch.ones(2)), str(tmp_path / "a.pth"), backend_args=dict(backend=BACKEND))
    assert torch.equal(torch.load(tmp_path / "a.pth")["a"], torch.ones(2))
    assert os.listdir(tmp_path) == ["a.pth"]


def test_removals_come_last_and_only_after_success(tmp_path):
    files, (a, b) = CheckpointBackend(), (tmp_path / "a", tmp_path / "b")
    for path in (a, b):
        path.touch()
    with files.removals_last(), files.removals_last():
        files.remove(a)
        assert a.exists()
    assert not a.exists()
    with pytest.raises(RuntimeError), files.removals_last():
        files.remove(b)
        raise RuntimeError
    assert b.exists()
    files.remove(b)
    assert not b.exists()


def test_a_checkpoint_goes_with_its_student(tmp_path):
    for name in ("epoch_1.pth", "student_epoch_1.pth", "student_epoch_2.pth"):
        (tmp_path / name).touch()
    CheckpointBackend().remove(tmp_path / "epoch_1.pth")
    assert os.listdir(tmp_path) == ["student_epoch_2.pth"]
