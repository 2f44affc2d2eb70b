"""Trainings with extra images: with boxes, and without labels."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet import distill
from pcka_mmdet.demo.config import move_data_root
from tests.integration.conftest import last_log, write_pair


@pytest.fixture
def folder(digit_scenes, tmp_path) -> Path:
    shutil.copytree(digit_scenes / "test", tmp_path / "extra")
    for file in (tmp_path / "extra").iterdir():
        file.write_bytes(file.read_bytes() + b"0")  # a copy of test would be refused
    content = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "extra"


def train(digit_scenes: Path, tmp_path: Path, name: str, **options) -> dict:
    """Weights of the demo's distilled student after two epochs of two steps."""
    student = Config.fromfile("configs/demo/student.py")
    move_data_root(student, str(digit_scenes))
    student.train_dataloader.batch_size = 4
    student.train_cfg.update(max_epochs=2, val_interval=9)
    student.default_hooks.checkpoint.max_keep_ckpts = -1
    student.dump(tmp_path / "student.py")
    sides = tmp_path / "student.py", "configs/demo/teacher.py", "random"
    distill(*sides, tmp_path / name, recipe="both-heads", **options)
    return torch.load(tmp_path / name / "epoch_2.pth", weights_only=False)["state_dict"]


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_share_of_0_is_a_training_without(digit_scenes, folder, tmp_path):
    without = train(digit_scenes, tmp_path, "without")
    assert equal(without, train(digit_scenes, tmp_path, "zero", extra=str(folder), extra_share=0.0))
    assert not equal(without, train(digit_scenes, tmp_path, "half", extra=str(folder)))
    log = last_log(tmp_path / "half")
    assert "a step of each process has 2 labelled and 2 extra images: 4 without labels" in log
    assert "[2/2]" in log  # as many steps as without
    # the student's config has the extra images too
    config = Config.fromfile(tmp_path / "half" / "student_config.py")
    assert config.train_dataloader.sampler.type == "pcka_mmdet.ExtraImagesSampler"
    assert Path(config.train_dataloader.dataset.datasets[1].ann_file).is_file()


@pytest.mark.parametrize(
    "source, amp",
    [
        ("{folder}", False),
        pytest.param("{folder}", True, marks=pytest.mark.full),
        pytest.param("{folder}/../boxes.json:{folder}", False, marks=pytest.mark.full),
    ],
    ids=["unlabelled", "unlabelled-amp", "boxes"],
)
def test_a_resumed_training_ends_bit_equal(digit_scenes, folder, tmp_path, source, amp):
    options = dict(extra=source.format(folder=folder), amp=amp)
    whole = train(digit_scenes, tmp_path, "whole", **options)
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "whole" / "epoch_1.pth", tmp_path / "resumed")
    (tmp_path / "resumed" / "last_checkpoint").write_text(str(tmp_path / "resumed" / "epoch_1.pth"))
    resumed = train(digit_scenes, tmp_path, "resumed", resume="newest", **options)
    assert equal(whole, resumed)


def test_averaged_weights_and_accumulated_steps(digit_scenes, folder, tmp_path):
    options = {"custom_hooks": [dict(type="EMAHook")], "optim_wrapper.accumulative_counts": 2}
    weights = train(digit_scenes, tmp_path, "averaged", extra=str(folder), cfg_options=options)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    checkpoint = torch.load(tmp_path / "averaged" / "epoch_2.pth", weights_only=False)
    averaged = {key.removeprefix("module."): value for key, value in checkpoint["ema_state_dict"].items()}
    changed = [
        key for key, value in weights.items() if value.is_floating_point() and not equal({0: value}, {0: averaged[key]})
    ]
    assert any(key.startswith("architecture.backbone") for key in changed)


def test_a_training_by_iterations(digit_scenes, folder, tmp_path):
    """Four steps, over the end of the labelled images."""
    options = {
        "train_cfg": dict(_delete_=True, type="IterBasedTrainLoop", max_iters=4, val_interval=9),
        "train_dataloader.sampler.type": "InfiniteSampler",
        "param_scheduler": [dict(type="ConstantLR", factor=1.0, by_epoch=False)],
        "default_hooks.checkpoint.by_epoch": False,
        "default_hooks.checkpoint.interval": 2,
        "log_processor.by_epoch": False,
    }
    student = Config.fromfile("configs/demo/student.py")
    move_data_root(student, str(digit_scenes))
    student.train_dataloader.batch_size = 4
    student.merge_from_dict(options)
    student.dump(tmp_path / "student.py")
    sides = tmp_path / "student.py", "configs/demo/teacher.py", "random"
    distill(*sides, tmp_path / "run", recipe="both-heads", extra=str(folder))
    assert (tmp_path / "run" / "iter_4.pth").is_file()
    assert "a step of each process has 2 labelled and 2 extra images: 4 without labels" in last_log(tmp_path / "run")


def test_a_student_alone_takes_pseudo_labels_by_the_command(command, digit_scenes, folder, tmp_path):
    write_pair(tmp_path, digit_scenes)
    out = tmp_path / "pseudo.json"
    words = [tmp_path / "teacher.py", tmp_path / "teacher.pth", folder, "--threshold", "0.0105", "--out", out]
    command("-m", "pcka_mmdet", "pseudo-label", *words, "--cfg-options", "model.test_cfg.score_thr=0.0")
    command("tools/train.py", tmp_path / "student.py", "--work-dir", tmp_path / "alone", "--extra", f"{out}:{folder}")
    log = last_log(tmp_path / "alone")
    assert "a step of each process has 4 labelled and 4 extra images: 4 with boxes" in log
    said = command("tools/doctor.py", tmp_path / "student.py", "--extra", f"{out}:{folder}").stdout
    assert "extra images: a step of each process has 4 labelled and 4 extra images" in said
    failed = command("tools/train.py", tmp_path / "student.py", "--extra", folder, check=False)
    assert failed.returncode == 2 and "is for a distillation alone: give --teacher" in failed.stderr
