"""Configs of the benchmark's trainings, and the queue that runs them."""

import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from rich.console import Console

from pcka_mmdet.configuration.detector import build_detector
from research.verdict import queue
from research.verdict.methods import Setting, grid
from research.verdict.pairs import PAIRS
from research.verdict.queue import ChangedCode, Queue, code_digest
from research.verdict.results import Results
from research.verdict.trials import AFFINE, Student, Trial

STUDENT = Student(6e-3, 24, 1e-1, "affine")
TEACHER = dict(teacher=dict(cfg_path="configs/demo/teacher.py"), teacher_ckpt="random")


def config(setting: Setting, pair: str = "digits", student: Student | None = STUDENT):
    return Trial(pair, setting, 3, student).config(Path("data"), Path("weights.pth"), TEACHER)


def test_the_setting_of_the_student_is_in_its_config():
    found = config(Setting())
    optimizer, (schedule,) = found.optim_wrapper.optimizer, found.param_scheduler
    assert (optimizer.lr, optimizer.weight_decay, schedule.eta_max) == (6e-3, 1e-1, 6e-3)
    assert found.train_cfg.max_epochs == schedule.total_steps == 24 and found.train_cfg.val_interval == 3
    assert found.randomness.seed == 3
    assert found.train_dataloader.dataset.pipeline[-2] == AFFINE
    assert config(Setting(), student=Student(6e-3, 24)).train_dataloader.dataset.pipeline[-2] != AFFINE


def test_the_distilled_student_trains_as_the_student_alone():
    alone, distilled = config(Setting()), config(Setting("both-heads", 0.3))
    assert distilled.model.architecture == alone.model and distilled.model.balance.ratio == 0.3
    assert distilled.model.teacher_precision == "bf16"
    for key in ("optim_wrapper", "param_scheduler", "train_cfg", "train_dataloader", "randomness"):
        assert distilled[key] == alone[key], key


def test_a_loss_beside_the_method_has_a_ratio_of_its_own():
    found = config(Setting("both-heads", 1.0, "finest", "l2", 0.3)).model
    assert found.balance.ratio == dict(own=1.0, head=1.0, beside=0.3)
    assert found.distiller.losses.beside.strides == (8,) and "strides" not in found.distiller.losses.own


def test_weights_of_both_sides_of_the_imagenet_pair():
    for trial in (Trial("deeppcb-imagenet", Setting(), 0, STUDENT), Trial("deeppcb-imagenet", Setting("teacher"), 0)):
        found = trial.config(Path("data"), Path("weights.pth"))
        assert found.model.backbone.init_cfg.checkpoint == "weights.pth"


@pytest.mark.parametrize("pair", PAIRS)
def test_both_sides_of_a_pair_are_built(pair):
    init_default_scope("mmdet")
    for trial in (Trial(pair, Setting(), 0, STUDENT), Trial(pair, Setting("teacher"), 0)):
        found = trial.config(Path("data"), Path("weights.pth"))
        detector = build_detector(found.model)
        classes = found.train_dataloader.dataset.metainfo.classes
        assert detector.bbox_head.num_classes == len(classes)


@pytest.mark.parametrize("setting", [s for s in grid(("two",)) if s.ratio == 1.0 and s.stop == 1], ids=lambda s: s.name)
def test_every_method_builds_on_the_digits(setting):
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = build_detector(config(setting).model)
    assert {term.sources.teacher for term in model.distiller.all_terms} <= {"neck", "head"}
    if setting.levels == "two" and setting.method != "mgd" and "heads" not in setting.method:
        assert {term.stride for term in model.distiller.all_terms if term.stride} <= {8, 16}


def test_the_code_has_to_be_a_commit(monkeypatch, tmp_path):
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    monkeypatch.setattr(queue, "carried", lambda name: tmp_path / name)
    with pytest.raises(ChangedCode, match="no git repository"):
        code_digest()
    for folder in ("pcka_mmdet", "tools", "configs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("a = 1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    first = code_digest()
    (tmp_path / "configs" / "a.py").write_text("a = 2")
    with pytest.raises(ChangedCode, match=r"in no commit:\n.*configs/a.py"):
        code_digest()
    git("commit", "-qam", "a config")
    assert code_digest() == first  # configs have digests of their own
    (tmp_path / "pcka_mmdet" / "a.py").write_text("a = 2")
    git("commit", "-qam", "the code")
    assert code_digest() != first


@pytest.mark.full  # two trainings
def test_the_queue_trains_keeps_and_does_not_repeat(monkeypatch, tmp_path, digit_scenes):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digit_scenes").symlink_to(digit_scenes)
    student = Student(3e-3, 2)
    trials = [Trial("digits", Setting(), 1000, student), Trial("digits", Setting("l2", 1.0, "two"), 1000, student)]
    monkeypatch.setattr(queue, "STEPS", (lambda results: results.val(trials),))
    monkeypatch.setattr(queue, "code_digest", lambda: "digest")
    monkeypatch.setitem(PAIRS, "digits", PAIRS["digits"].__class__("demo", "digit_scenes", 2, 1, 2))
    results = Results(tmp_path / "results")
    arguments = (results, tmp_path / "work", tmp_path / "data", tmp_path / "weights.pth", 2, Console(quiet=True))
    Queue(*arguments).run()
    rows = results.rows("digits")
    assert rows.keys() == {"teacher_seed0", *(trial.name for trial in trials)}
    assert all(len(row["curve"]) == 2 and row["code"] == "digest" for row in rows.values())
    assert rows[trials[1].name]["inputs"]["teacher"]
    monkeypatch.setattr(queue, "Child", None)
    Queue(*arguments).run()  # nothing is left
