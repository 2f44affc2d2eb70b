"""The student beside each checkpoint works where nobody has heard of this package."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
import torch

from tests.integration.conftest import tiny_demo
from tests.pages import blocks

DISTILLED = "tests/data/distilled.py"
MMDET_TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"


@pytest.fixture(scope="module")
def work(command, digit_scenes, tmp_path_factory):
    """A distillation of one epoch, and what `tools/test.py` says about its student."""
    folder = tmp_path_factory.mktemp("distillation")
    command("tools/train.py", DISTILLED, "--work-dir", folder, *tiny_demo(digit_scenes))
    test(command, digit_scenes, folder / "epoch_1.pth", folder / "of_distillation")
    return folder


def test(command, digit_scenes, checkpoint, folder, config=DISTILLED, settings=None):
    settings = tiny_demo(digit_scenes) if settings is None else settings
    words = ("tools/test.py", config, checkpoint, "--work-dir", folder, "--out", folder / "predictions.pkl", *settings)
    return command(*words)


test.__test__ = False


def predictions(folder):
    return [item["pred_instances"] for item in pickle.loads((folder / "predictions.pkl").read_bytes())]


def assert_same(one, other):
    assert len(one) == len(other) and sum(len(p["scores"]) for p in one) > 0
    for first, second in zip(one, other, strict=True):
        for key in ("bboxes", "scores", "labels"):
            assert torch.equal(torch.as_tensor(first[key]), torch.as_tensor(second[key])), key


def without_us(code, *arguments, cwd="/"):
    """Run code in a process that must not import this package."""
    code += "\nimport sys; assert not [name for name in sys.modules if name.startswith(('pcka', 'mmrazor'))]\n"
    words = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as `command`, with which bits are compared
    done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


INFERENCE = """
import json, sys
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
weights, config, image, out = sys.argv[1:]
content = torch.load(weights, weights_only=True)
assert list(content) == ["state_dict", "meta"]
inferencer = DetInferencer(weights=weights, device="cpu", show_progress=False)
found = inferencer(image, return_datasamples=True)["predictions"][0].pred_instances
open(config, "w").write(content["meta"]["cfg"])
model = init_detector(config, weights, device="cpu")
assert model.dataset_meta["classes"] == tuple("0123456789")
again = inference_detector(model, image).pred_instances
for key in ("bboxes", "scores", "labels"):
    assert torch.equal(found[key], again[key])
torch.save({key: found[key] for key in ("bboxes", "scores", "labels")}, out)
"""


LOADING = """
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.runner import load_checkpoint
register_all_modules()
model = MODELS.build(Config.fromstring(content["meta"]["cfg"], ".py").model)
load_checkpoint(model, weights, strict=True)
"""


def test_inference_with_no_config_given_load_from_and_the_block_of_the_page(work, digit_scenes, tmp_path):
    """The block of docs/own-detector.md runs in a folder with the files that it names."""
    record = pickle.loads((work / "of_distillation/predictions.pkl").read_bytes())[0]
    (block,) = [text for text in blocks("docs/own-detector.md", "python") if "DetInferencer" in text]
    named, image = re.findall(r'"([^"]+)"', block)
    (tmp_path / named).parent.mkdir(parents=True)
    shutil.copy(work / "student_epoch_1.pth", tmp_path / named)
    shutil.copy(next((digit_scenes / "val").iterdir()), tmp_path / image)
    arguments = [work / "student_epoch_1.pth", tmp_path / "c.py", record["img_path"], tmp_path / "out.pth"]
    without_us(INFERENCE + LOADING + block, *arguments, cwd=tmp_path)
    assert_same([torch.load(tmp_path / "out.pth")], [record["pred_instances"]])


def test_mmdets_own_test_tool(work, tmp_path):
    config = tmp_path / "student.py"
    config.write_text(torch.load(work / "student_epoch_1.pth")["meta"]["cfg"])
    run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [MMDET_TOOLS / "test.py", config, work / "student_epoch_1.pth", "--work-dir", tmp_path / "work"]
    without_us(run, *arguments, "--out", tmp_path / "predictions.pkl")
    assert_same(predictions(tmp_path), predictions(work / "of_distillation"))


@pytest.mark.parametrize("config", ["the distillation's", "the student's"])
@pytest.mark.parametrize("checkpoint", ["epoch_1.pth", "student_epoch_1.pth"])
def test_either_checkpoint_with_either_config(command, work, digit_scenes, config, checkpoint, tmp_path):
    if (config, checkpoint) == ("the distillation's", "epoch_1.pth"):
        pytest.skip("that is what the others are compared with")
    path, settings = DISTILLED, None
    if config == "the student's":
        path, settings = tmp_path / "student.py", []
        path.write_text(torch.load(work / "student_epoch_1.pth")["meta"]["cfg"])
    test(command, digit_scenes, work / checkpoint, tmp_path / "work", path, settings)
    assert_same(predictions(tmp_path / "work"), predictions(work / "of_distillation"))


def test_testing_needs_no_teacher(command, work, digit_scenes, tmp_path):
    """Neither its checkpoint nor its config is there, and the model is the student's."""
    settings = [s for s in tiny_demo(digit_scenes) if not s.startswith("model.teacher_ckpt")]
    settings += ["model.teacher_ckpt=gone.pth", "model.teacher.cfg_path=gone.py"]
    test(command, digit_scenes, work / "epoch_1.pth", tmp_path / "work", settings=settings)
    assert_same(predictions(tmp_path / "work"), predictions(work / "of_distillation"))


def test_a_checkpoint_of_something_else_is_refused(command, digit_scenes, tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), meta={}), tmp_path / "other.pth")
    words = ["tools/test.py", DISTILLED, tmp_path / "other.pth", "--work-dir", tmp_path, *tiny_demo(digit_scenes)]
    done = command(*words, check=False)
    assert done.returncode == 2 and "is not of this config's RetinaNet: missing backbone.conv1.weight" in done.stderr


def test_export(command, work, tmp_path):
    out = command("tools/export_student.py", work / "epoch_1.pth", tmp_path / "mine.pth", "--publish").stdout
    (path,) = tmp_path.glob("mine-*.pth")
    assert str(path) in out and (tmp_path / "mine.pth").is_file()
    mine, theirs = torch.load(path), torch.load(work / "student_epoch_1.pth")
    assert mine["meta"] == theirs["meta"] and mine["state_dict"].keys() == theirs["state_dict"].keys()
    done = command("tools/export_student.py", tmp_path / "none.pth", check=False)
    assert done.returncode == 2 and "none.pth' does not exist" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.full  # seconds of torch.onnx, which tests/engine/test_onnx_export.py also spends
def test_export_onnx(command, work, tmp_path):
    out = command("tools/export_onnx.py", work / "epoch_1.pth", tmp_path / "student.onnx", "--shape", 128, 128).stdout
    assert "student.onnx: cls_scores_s8, cls_scores_s16" in out and (tmp_path / "student.onnx").stat().st_size > 1e6


def test_export_onnx_without_a_checkpoint(command, tmp_path):
    done = command("tools/export_onnx.py", tmp_path / "none.pth", "--shape", 128, 128, check=False)
    assert done.returncode == 2 and "none.pth' does not exist" in done.stderr and "Traceback" not in done.stderr
