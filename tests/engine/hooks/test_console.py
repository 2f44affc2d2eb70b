"""The progress bar, the gain over a baseline, and the metrics of a validation that gives none."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook
from rich.console import Console

from pcka_mmdet.cli import make_parser
from pcka_mmdet.cli import train as tool
from pcka_mmdet.engine.hooks import console
from pcka_mmdet.engine.hooks.console import FreshMetricsHook, ProgressHook
from pcka_mmdet.report.scalars import read_scalars, validation_records
from tests.detectors import build, distillation, retinanet
from tests.runners import runner, validation


def train(tmp_path, hook, checkpoint=None):
    hooks = dict(logger=dict(type="LoggerHook", interval=1), checkpoint=checkpoint)
    run = runner(build(retinanet()), tmp_path, epochs=2, log_level="INFO", default_hooks=hooks, **validation())
    run.register_hook(hook)
    run.train()
    return run


def test_a_terminal_sees_the_bar(tmp_path, capsys):
    shown = Console(file=io.StringIO(), force_terminal=True, width=120)
    hook = ProgressHook(baseline=0.25, metric="score", console=shown)
    train(tmp_path, hook)
    text = shown.file.getvalue()
    assert "training" in text and "6/6" in text and hook._bar is None
    assert re.search(r"\d:\d\d:\d\d", text)  # the time left
    assert re.search(r"score \d\.\d{3}, [+-]\d\.\d{3} over the baseline's 0\.250", text)
    assert "Epoch(train)" in text  # the log's lines come above the bar


def test_elsewhere_there_is_none(tmp_path):
    shown = Console(file=io.StringIO())
    train(tmp_path, ProgressHook(console=shown))
    assert shown.file.getvalue() == ""


def test_only_the_first_process_has_one(monkeypatch):
    monkeypatch.setattr(console, "is_main_process", lambda: False)
    shown = Console(file=io.StringIO(), force_terminal=True)
    hook = ProgressHook(console=shown)
    hook.before_test(SimpleNamespace(test_dataloader=[0]))
    assert hook._bar is None and shown.file.getvalue() == ""


def test_the_gain_over_a_baseline(tmp_path, capsys):
    hook = ProgressHook(baseline=0.25, console=Console(file=io.StringIO()))
    assert hook.summary == ""
    run = runner(retinanet(), tmp_path, log_level="INFO")
    hook.after_val_epoch(run, {"coco/bbox_mAP_50": 0.9, "coco/bbox_mAP": 0.3})
    hook._trains = True
    hook.after_run(run)
    assert hook.summary == "AP 0.300, +0.050 over the baseline's 0.250"
    assert hook.summary in capsys.readouterr().out
    assert ProgressHook().summary == ""
    hook = ProgressHook(0.25, metric="pascal_voc/mAP")
    hook.after_val_epoch(run, {"pascal_voc/mAP": 0.5})
    assert hook.summary == "pascal_voc/mAP 0.500, +0.250 over the baseline's 0.250"
    assert (
        ProgressHook(0.25, value=0.2).summary == "AP 0.200, -0.050 over the baseline's 0.250"
    )  # nothing is left to train


def test_the_last_line_says_what_is_next(tmp_path, capsys):
    """The newest checkpoint of a detector, the best student of a distillation; nothing after a test."""
    checkpoint = dict(type="pcka_mmdet.StudentCheckpointHook", interval=1)
    run = train(tmp_path / "plain", ProgressHook(console=Console(file=io.StringIO())), checkpoint)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"the detector is {tmp_path / 'plain' / 'epoch_2.pth'}")
    run.cfg.update(test_evaluator=[dict(type="CocoMetric")], model=dict(architecture={}))
    best = tmp_path / "best_score_epoch_1.pth"
    (tmp_path / "student_best_score_epoch_1.pth").touch()
    hook = next(one for one in run.hooks if isinstance(one, CheckpointHook))
    vars(hook).update(save_best="score", key_indicators=["score"], best_ckpt_path=str(best))
    assert console._next_step(run) == (
        f"the student is {tmp_path / 'student_best_score_epoch_1.pth'}; next: pcka-mmdet report {tmp_path / 'plain'} "
        "--baseline STUDENT_ALONE"
    )
    assert console._next_step(run, Path("my runs")).endswith(" --baseline 'my runs'")
    ProgressHook(console=Console(file=io.StringIO())).after_run(run)
    assert "the student is" not in capsys.readouterr().out


def test_a_test_has_a_bar():
    shown = Console(file=io.StringIO(), force_terminal=True, width=120)
    run = SimpleNamespace(test_dataloader=[0, 1, 2])
    hook = ProgressHook(console=shown)
    hook.before_test(run)
    hook.after_test_iter(run, 0)
    hook.after_run(run)
    assert "test" in shown.file.getvalue() and "1/3" in shown.file.getvalue()


def test_stopping_twice_is_stopping_once(tmp_path):
    hook = ProgressHook(console=Console(file=io.StringIO(), force_terminal=True))
    run = runner(retinanet(), tmp_path)
    run._train_loop = run.build_train_loop(run._train_loop)
    hook.before_train(run)
    assert hook._bar is not None
    hook.stop()
    hook.stop()
    assert hook._bar is None


def test_an_error_takes_the_bar_away(monkeypatch):
    def fail(*_):
        raise RuntimeError("no luck")

    stopped = []
    monkeypatch.setattr(ProgressHook, "stop", lambda self: stopped.append(self))
    monkeypatch.setattr(tool, "run_training", fail)
    monkeypatch.setattr(sys, "argv", ["pcka-mmdet", "train", "configs/demo/student.py"])
    with pytest.raises(RuntimeError, match="no luck"):
        tool.run(make_parser("train").parse_args())
    assert len(stopped) == 1


class Once(BaseMetric):
    """Gives a metric in the first validation only, as MMDetection's does where later validations detect nothing."""

    validations = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.validations += 1
        return dict(bbox_mAP=0.42) if self.validations == 1 else {}


def test_the_last_metric_is_not_repeated(tmp_path):
    metrics = {}
    for hooks in ([], [FreshMetricsHook()]):
        settings = validation() | dict(val_evaluator=Evaluator(Once(prefix="coco")))
        run = runner(distillation(), tmp_path / str(len(hooks)), 2, custom_hooks=hooks, **settings)
        run.train()
        records = validation_records(read_scalars(tmp_path / str(len(hooks))))
        metrics[len(hooks)] = [values["bbox_mAP"] for values in records.values()]
    assert metrics == {0: [0.42, 0.42], 1: [0.42, 0.0]}
