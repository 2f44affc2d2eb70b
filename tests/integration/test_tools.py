"""The command line tools, run as a user runs them."""

import json
import pickle
import socket

import pytest
import torch

from tests.integration.conftest import last_log, tiny_demo

DISTILLED = "configs/demo/distilled.py"


def test_train_resume_and_test(command, digit_scenes, tmp_path):
    command("tools/train.py", DISTILLED, "--work-dir", tmp_path, *tiny_demo(digit_scenes))
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert {key.split(".")[0] for key in checkpoint["state_dict"]} == {"architecture", "distiller"}
    lines = [line for line in last_log(tmp_path).splitlines() if "Epoch(train)" in line]
    assert len(lines) == 2 and "distill.loss_pcka: " in lines[0] and "_s8" not in lines[0]
    scalars = [json.loads(line) for line in next(tmp_path.glob("*/vis_data/scalars.json")).read_text().splitlines()]
    assert {"distill.loss_pcka_s8", "distill.loss_mimic_s64", "similarity.cka_s8", "distill.loss_pcka"} <= set(
        scalars[0]
    )

    command("tools/train.py", DISTILLED, "--work-dir", tmp_path, "--resume", *tiny_demo(digit_scenes, epochs=2))
    assert "resumed epoch: 1" in last_log(tmp_path)

    out, shown = tmp_path / "predictions.pkl", "pictures"
    command(
        *("tools/test.py", DISTILLED, tmp_path / "epoch_2.pth", "--work-dir", tmp_path / "test"),
        *("--out", out, "--show-dir", shown, *tiny_demo(digit_scenes)),
    )
    assert len(pickle.loads(out.read_bytes())) == 4
    assert len(list((tmp_path / "test").glob(f"*/{shown}/*.png"))) == 4
    metrics = json.loads(max((tmp_path / "test").glob("*/*.json")).read_text())
    assert "coco/bbox_mAP" in metrics


def test_scaled_learning_rate_and_tta(command, digit_scenes, tmp_path):
    arguments = [*tiny_demo(digit_scenes), "train_cfg.val_interval=9", "auto_scale_lr.base_batch_size=16"]
    command("tools/train.py", DISTILLED, "--work-dir", tmp_path, "--auto-scale-lr", *arguments)
    assert "LR is set based on batch size of 16" in last_log(tmp_path)
    arguments = tiny_demo(digit_scenes)
    command("tools/test.py", DISTILLED, tmp_path / "epoch_1.pth", "--work-dir", tmp_path, "--tta", *arguments)
    assert "DetTTAModel" in last_log(tmp_path) and "bbox_mAP" in last_log(tmp_path)


def test_a_mistake_is_told_without_a_traceback(command):
    done = command("tools/train.py", "configs/none.py", check=False)
    assert done.returncode == 1
    assert "no config file at 'configs/none.py'" in done.stderr and "Traceback" not in done.stderr


def test_weights_that_cannot_be_downloaded(command, digit_scenes, tmp_path):
    """Nothing listens at that port, as if there were no network."""
    settings = [*tiny_demo(digit_scenes)[2:], "model.init_cfg.type=Pretrained"]
    settings = [setting for setting in settings if not setting.startswith("model.architecture")]
    arguments = ["configs/demo/student.py", "--work-dir", tmp_path, "--cfg-options", *settings]
    done = command("tools/train.py", *arguments, "model.init_cfg.checkpoint=http://127.0.0.1:9/x.pth", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "weights that the config names cannot be downloaded" in done.stderr and "checkpoint=FILE" in done.stderr


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_two_processes_on_the_cpu(command, digit_scenes, tmp_path):
    command(
        *("tools/dist_train.sh", DISTILLED, 2, "--work-dir", tmp_path, *tiny_demo(digit_scenes)),
        "train_cfg.val_interval=9",
        "env_cfg.dist_cfg.backend=gloo",
        PORT=free_port(),
    )
    lines = [line for line in last_log(tmp_path).splitlines() if "Epoch(train)" in line]
    assert len(lines) == 1 and "[1/1]" in lines[0]  # 8 scenes, 4 a process
    log = command(
        *("tools/dist_test.sh", DISTILLED, tmp_path / "epoch_1.pth", 2, "--work-dir", tmp_path / "test"),
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
