"""The command line tools, run as a user runs them."""

import json
import pickle
import re
import socket
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from pcka_mmdet.demo.config import move_data_root
from pcka_mmdet.engine.testing import use_tta
from pcka_mmdet.report.scalars import read_scalars
from tests.coco import recall
from tests.integration.conftest import last_log, tiny_demo

DISTILLED = "tests/data/distilled.py"
KEEP_BEST = ["default_hooks.checkpoint.save_best=coco/AR@100", "val_evaluator.metric=proposal"]
"""By the recall of all detections: the AP of detectors that have hardly learnt is 0."""


def best_checkpoint(work_dir: Path) -> tuple[str, float]:
    """Its name and its recall, by the validations that a training logged: the first epoch of the highest."""
    found = {record["step"]: record["coco/AR@100"] for record in read_scalars(work_dir) if "coco/AR@100" in record}
    epoch = max(found, key=found.get)
    return f"best_coco_AR@100_epoch_{epoch}.pth", found[epoch]


def test_train_and_test(command, digit_scenes, tmp_path):
    """The best student reaches in `tools/test.py` what its validation found."""
    log = tmp_path / "plain" / "20260101_000000" / "vis_data"
    log.mkdir(parents=True)
    (log / "scalars.json").write_text('{"coco/AR@100": 0.25, "step": 2}\n')
    words = ["--work-dir", tmp_path, "--baseline", tmp_path / "plain", *tiny_demo(digit_scenes, epochs=2), *KEEP_BEST]
    command("tools/train.py", DISTILLED, *words, "teacher_check.metric=AR@100")
    best, validated = best_checkpoint(tmp_path)
    begin, level_table, first, end = (
        last_log(tmp_path).index(text)
        for text in ("Checkpoints will be saved", "| level", "Epoch(train)", " over the baseline's 0.250")
    )
    assert begin < level_table < first < end
    checkpoint = torch.load(tmp_path / best, weights_only=True)
    assert {key.split(".")[0] for key in checkpoint["state_dict"]} == {"architecture", "distiller"}
    lines = [line for line in last_log(tmp_path).splitlines() if "Epoch(train)" in line]
    assert len(lines) == 4 and "distill.loss_pcka: " in lines[0] and "_s8" not in lines[0]
    assert all(f"similarity.{name}: " in lines[0] for name in ("cka", "pcka", "mimic")) and "balance." not in lines[0]
    explained = re.findall(r"`([^`]+)`", Path("docs/log.md").read_text())
    for key in {key for record in read_scalars(tmp_path) for key in record}:
        key = re.sub(r"(?<!teacher)_s\d+$", "_s8", re.sub(r"_s\d+_teacher_s\d+", "_s8_teacher_s16", key))
        key = re.sub("(?<=loss_)(pcka|mimic)|(?<=_)all$", "NAME", re.sub("AR_[ml]", "AR_s", key))
        assert key in explained or key.removesuffix("_s8") in explained, key
    keys = {"distill.loss_pcka_s8", "distill.loss_mimic_s64", "similarity.cka_s8", "distill.loss_pcka"}
    assert keys <= read_scalars(tmp_path)[0].keys()
    validations = [record for record in read_scalars(tmp_path) if "coco/AR@100" in record]
    assert all("similarity.cka_s8_teacher_s16" in record for record in validations)
    assert not [line for line in last_log(tmp_path).splitlines() if "Epoch(val)" in line and "_teacher_" in line]

    out, shown, annotations = tmp_path / "predictions.pkl", "pictures", digit_scenes / "annotations" / "val.json"
    tested = command(
        *("tools/test.py", DISTILLED, tmp_path / f"student_{best}", "--work-dir", tmp_path / "test"),
        *("--out", out, "--show-dir", shown, *tiny_demo(digit_scenes)),
        *("test_dataloader.dataset.ann_file=annotations/val.json", "test_dataloader.dataset.data_prefix.img=val/"),
        *(f"test_evaluator.ann_file={annotations}", "test_evaluator.metric=proposal", "test_dataloader.batch_size=4"),
        FORCE_COLOR="1",  # as on a terminal
    )
    assert "1/1" in tested.stdout  # the bar
    assert len(pickle.loads(out.read_bytes())) == 4
    assert len(list((tmp_path / "test").glob(f"*/{shown}/*.png"))) == 4
    metrics = json.loads(max((tmp_path / "test").glob("*/*.json")).read_text())
    assert metrics["coco/AR@100"] == validated == pytest.approx(recall(annotations, out), abs=1e-3)
    assert validated > 0.01


def test_scaled_learning_rate_and_tta(command, digit_scenes, tmp_path):
    arguments = [*tiny_demo(digit_scenes), "train_cfg.val_interval=9", "auto_scale_lr.base_batch_size=16"]
    command("tools/train.py", DISTILLED, "--work-dir", tmp_path, "--auto-scale-lr", *arguments)
    assert "LR is set based on batch size of 16" in last_log(tmp_path)
    arguments = tiny_demo(digit_scenes)
    command("tools/test.py", DISTILLED, tmp_path / "epoch_1.pth", "--work-dir", tmp_path, "--tta", *arguments)
    assert "DetTTAModel" in last_log(tmp_path) and "bbox_mAP" in last_log(tmp_path)


def test_the_first_view_of_tta_is_the_image_itself(digit_scenes):
    """Metrics such as VOC's compare with the objects of that one. Types have their scopes, for configs without one."""
    config = Config.fromfile("configs/demo/student.py")
    move_data_root(config, str(digit_scenes))
    use_tta(config)
    config.test_dataloader.dataset.type = "mmdet.CocoDataset"
    for step in config.test_dataloader.dataset.pipeline:
        step.type = {"LoadAnnotations": "mmdet.LoadAnnotations", "Resize": "mmdet.Resize"}.get(step.type, step.type)
    init_default_scope("mmengine")
    found = DATASETS.build(config.test_dataloader.dataset)[0]["data_samples"]
    assert [sample.flip for sample in found] == [False, True]
    assert MODELS.get(config.model.type).__name__ == "DetTTAModel"


def test_a_mistake_is_told_without_a_traceback(command):
    done = command("tools/train.py", "configs/none.py", check=False)
    assert done.returncode == 2
    assert "no config file at 'configs/none.py'" in done.stderr and "Traceback" not in done.stderr


def test_weights_that_cannot_be_downloaded(command, digit_scenes, tmp_path):
    """Nothing listens at that port, as if there were no network."""
    settings = [*tiny_demo(digit_scenes)[2:], "model.init_cfg.type=Pretrained"]
    settings = [setting for setting in settings if not setting.startswith("model.architecture")]
    arguments = ["configs/demo/student.py", "--work-dir", tmp_path, "--cfg-options", *settings]
    done = command("tools/train.py", *arguments, "model.init_cfg.checkpoint=http://127.0.0.1:9/x.pth", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "weights that the config names cannot be downloaded" in done.stderr and "checkpoint=FILE" in done.stderr


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.full  # six processes, each of which imports everything; test_processes.py has two for all that matters
def test_two_processes_on_the_cpu(command, digit_scenes, tmp_path):
    train = ["tools/dist_train.sh", DISTILLED, 2, "--work-dir", tmp_path]
    settings = [*KEEP_BEST, "env_cfg.dist_cfg.backend=gloo"]
    command(*train, *tiny_demo(digit_scenes), *settings, PORT=free_port())
    lines = [line for line in last_log(tmp_path).splitlines() if "Epoch(train)" in line]
    assert len(lines) == 1 and "[1/1]" in lines[0]  # 8 scenes, 4 a process
    command(*train, "--resume", *tiny_demo(digit_scenes, epochs=2), *settings, PORT=free_port())
    assert "resumed epoch: 1" in last_log(tmp_path)
    best, _ = best_checkpoint(tmp_path)
    assert {path.name for path in tmp_path.glob("*best*.pth")} == {best, f"student_{best}"}
    log = command(
        *("tools/dist_test.sh", DISTILLED, tmp_path / best, 2, "--work-dir", tmp_path / "test"),
        *tiny_demo(digit_scenes),
        PORT=free_port(),
    ).stdout
    assert "bbox_mAP" in log


@pytest.mark.parametrize("script, least", [("dist_train", 2), ("dist_test", 3), ("slurm_train", 4), ("slurm_test", 4)])
def test_scripts_say_how_they_are_used(command, script, least):
    done = command(f"tools/{script}.sh", *["x"] * (least - 1), check=False)
    assert done.returncode == 2 and f"usage: tools/{script}.sh" in done.stderr


@pytest.mark.parametrize("tool, last", [("train", "WORK_DIR"), ("test", "CHECKPOINT")])
def test_slurm_scripts_call_srun(command, tool, last, tmp_path):
    """srun is a stand-in that prints its arguments; Slurm itself was not tried."""
    srun = tmp_path / "srun"
    srun.write_text('#!/usr/bin/env bash\nprintf "%s " "$@"\n')
    srun.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = command(f"tools/slurm_{tool}.sh", "gpus", "job", "CONFIG", last, "--tta", PATH=path, GPUS="16")
    assert "-p gpus --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8" in done.stdout
    argument = f"--work-dir {last}" if tool == "train" else last
    assert f"tools/{tool}.py CONFIG {argument} --launcher slurm --tta" in done.stdout
