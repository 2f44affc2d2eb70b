"""Which checkpoint of a training is tested for its report."""

import subprocess

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.report import tested  # pytest takes a function of this name for a test


@pytest.fixture
def commands(monkeypatch):
    """The tests that are started, none of which runs."""
    started = []

    def run(words, **options):
        started.append(list(map(str, words)))
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return started


def test_the_newest_checkpoint_or_else_the_best(tmp_path, commands):
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    with pytest.raises(ValueError, match="there is no checkpoint in '.*': finish that training first"):
        tested.tested([tmp_path])
    for name in ("best_coco_bbox_mAP_epoch_3.pth", "epoch_4.pth"):
        torch.save({}, tmp_path / name)
        (run,) = tested.tested([tmp_path])
        assert run.folder == tmp_path and str(tmp_path / name) in commands[-1]
        assert str(tmp_path / "test") in commands[-1]


def test_the_best_checkpoint_has_results_of_its_own(tmp_path, commands):
    Config(dict(test_evaluator=dict(type="CocoMetric", ann_file="test.json"))).dump(tmp_path / "config.py")
    torch.save({}, tmp_path / "epoch_4.pth")
    with pytest.raises(ValueError, match=r"there is no best_\*.pth in .*save_best=auto, or write --which last"):
        tested.tested([tmp_path], "best")
    torch.save({}, tmp_path / "best_coco_bbox_mAP_epoch_3.pth")
    (run,) = tested.tested([tmp_path], "best")
    assert (run.which, run.results) == ("best", tmp_path / "test_best" / "predictions.bbox.json")
    assert {str(tmp_path / "best_coco_bbox_mAP_epoch_3.pth"), str(tmp_path / "test_best")} <= set(commands[-1])
    run.results.parent.mkdir()
    run.results.write_text("[]")
    tested.tested([tmp_path], "best")
    assert len(commands) == 1  # tested already
