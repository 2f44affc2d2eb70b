"""Benchmarks run, on tiny maps."""

import json

import pytest
import torch
from mmengine.config import Config

from research.provenance import machine


def test_the_loss_benchmark_runs(command, tmp_path):
    sizes = ["--batch", 2, "--channels", 4, "--size", 128, 160, "--patch-size", 4, "--rounds", 1]
    out = command("-m", "research.costs.loss", *sizes, "--out", tmp_path / "loss.json").stdout
    lines = [line for line in out.splitlines() if ": value " in line]
    assert len(lines) == 3
    for line in lines:  # "NAME: value A against B, gradients within E of the largest"
        words = line.split()
        value, ours, gradient = (float(words[words.index(w) + 1].strip(",")) for w in ("value", "against", "within"))
        assert abs(value - ours) < 1e-4 * ours and gradient < 1e-5
    result = json.loads((tmp_path / "loss.json").read_text())
    rivals = {"PKDLoss", "naive loop", "loop over unbind", "batched, autograd"}
    assert set(result["seconds"]) == {"PCKALoss", "PCKALoss, position_weight"} | rivals
    assert result["machine"]["torch"] == torch.__version__ == machine()["torch"]


@pytest.mark.full
def test_the_gpu_benchmark_runs_without_one(command, tmp_path):
    sizes = ["--batch", 1, "--channels", 4, "--size", 128, 160, "--patch-size", 4, "--rounds", 1, "--device", "cpu"]
    sizes += ["--teacher", "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"]
    out = command("-m", "research.costs.gpu", *sizes, "--out", tmp_path / "gpu.json").stdout
    assert "PCKA, bf16" in out and "teacher, fused, channels last" in out
    results = json.loads((tmp_path / "gpu.json").read_text())["results"]
    assert set(results) == {"fp32", "bf16", "teacher"} and results["fp32"]["floor_seconds"] > 0
    if not torch.cuda.is_available():
        done = command("-m", "research.costs.gpu", check=False)
        assert done.returncode == 2 and "torch sees no GPU here" in done.stderr


@pytest.mark.full  # twelve detectors
def test_the_step_benchmark_runs(command, tmp_path):
    sizes = ["--batch", 1, "--size", 128, 128, "--depths", 18, 18, "--rounds", 1]
    command("-m", "research.costs.step", *sizes, "--out", tmp_path / "step.json")
    seconds = json.loads((tmp_path / "step.json").read_text())["seconds"]
    assert {"student", "teacher", "distillation (fused, channels last)"} < set(seconds)


def test_the_benchmark_of_cost_runs(command, tmp_path):
    sizes = ["--batch", 1, "--size", 64, 96, "--rounds", 1, "--methods", "both-heads-half", "razor-dist-patched"]
    out = command("-m", "research.costs.cost", *sizes, "--out", tmp_path / "cost.json").stdout
    assert "MB over plain" in out
    results = json.loads((tmp_path / "cost.json").read_text())
    assert set(results["seconds"]) == {"plain", "both-heads-half", "razor-dist-patched", "teacher"}
    assert results["memory"]["both-heads-half"] > results["memory"]["plain"] > 0


@pytest.mark.full
def test_the_cost_of_losses_on_a_roi_head_and_on_two_levels(command, tmp_path):
    pair = [
        word for side in ("student", "teacher") for word in (f"--{side}", f"research/configs/bccd/two_stage/{side}.py")
    ]
    methods = ["roi-head", "rcka-roi", "razor-channels", "razor-channels-patched"]
    sizes = ["--batch", 1, "--size", 128, 192, "--rounds", 1]  # with smaller maps no patch has two positions
    command("-m", "research.costs.cost", *pair, *sizes, "--methods", *methods, "--out", tmp_path / "cost.json")
    assert set(json.loads((tmp_path / "cost.json").read_text())["seconds"]) == {"plain", "teacher", *methods}


@pytest.mark.full  # twelve processes, each of which imports everything
def test_the_benchmark_of_testing_runs(command, tmp_path):
    command("-m", "research.costs.testing", "--rounds", 1, "--scenes", 1, 2, "--out", tmp_path / "testing.json")
    medians = json.loads((tmp_path / "testing.json").read_text())["medians"]
    assert {"imports", "imports, with pcka_mmdet", "mmdet, 1 scenes", "ours, 2 scenes"} < set(medians)
    assert all(seconds > 0 and peak > 10**8 for seconds, peak in medians.values())


def test_the_benchmark_of_growth_runs(command, tmp_path):
    sizes = ["--batch", 1, "--channels", 4, "--size", 256, 256, "--rounds", 1]
    out = command("-m", "research.costs.growth", *sizes, "--out", tmp_path / "growth.json").stdout
    assert "256x256, patches of 64 pixels, s8" in out and "N^2 D" in out and "N D^2" in out
    assert set(json.loads((tmp_path / "growth.json").read_text())["seconds"]) == {"64 pixels", "16"}


def test_a_plan_of_a_distillation(command, tmp_path):
    config = "configs/fcos/{}_fpn_fcos_r101_fcos_r50_2x_coco.py"
    steps = {}
    for recipe, passes in (("pcka-mimic", "0"), ("heads", "3")):
        words = [config.format(recipe), "--size", 128, 160, "--student-step", 0.2]
        out = command("tools/plan.py", *words).stdout
        lines = {line[:52].strip(): line.split()[-1] for line in out.splitlines() if line.strip()}
        assert lines["passes through it in a step, n"] == passes
        assert ("PCKA on a GPU" in out) == (recipe == "pcka-mimic")
        steps[recipe] = float(lines["a step over the student's alone, 1 + (T + nH) / 3S"])
    assert 1.2 < steps["pcka-mimic"] < 1.4 < 1.7 < steps["heads"] < 1.9
    assert "175,920" in out and "22,008" in out
    left_out = Config.fromfile("research/configs/bccd/distilled.py")
    left_out.model.distiller = dict(losses=dict(own=None))
    left_out.dump(tmp_path / "bccd.py")
    done = command("tools/plan.py", "research/configs/bccd/distilled.py", check=False)
    assert (
        done.returncode == 2
        and "no annotation file at 'data/bccd/train.json' to count the images in: give" in done.stderr
    )
    out = command("tools/plan.py", tmp_path / "bccd.py", "--images", 205).stdout
    assert "256x320, batch 8 a GPU" in out and "205 images, 30 epochs" in out
    several = "configs/retinanet/progressive_fpn_retinanet-r101-x101_retinanet_r50_2x_coco.py"
    done = command("tools/plan.py", several, check=False)
    assert done.returncode == 2 and "a plan is for one teacher" in done.stderr
    done = command("tools/plan.py", "configs/demo/student.py", check=False)
    assert done.returncode == 2 and "configs/demo/student.py is no config of an FPNDistill" in done.stderr
