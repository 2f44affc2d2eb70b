"""Which checkpoint of a training is tested for its report."""

import subprocess

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.report import tested  # pytest takes a function of this name for a test


def test_the_newest_checkpoint_or_else_the_best(tmp_path, monkeypatch):
    commands = []

    def run(words, **options):
        commands.append(list(map(str, words)))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", run)
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    with pytest.raises(ValueError, match="there is no checkpoint in '.*': finish that training first"):
        tested.tested([tmp_path])
    for name in ("best_coco_bbox_mAP_epoch_3.pth", "epoch_4.pth"):
        torch.save({}, tmp_path / name)
        (run,) = tested.tested([tmp_path])
        assert run.folder == tmp_path and str(tmp_path / name) in commands[-1]
