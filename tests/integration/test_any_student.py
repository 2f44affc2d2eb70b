"""`tools/train.py STUDENT --teacher TEACHER`, on the example of docs/own-detector.md: classes and data of one's own."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.configuration.detector import build_detector
from tests.coco import write_coco
from tests.integration.conftest import last_log, run_block
from tests.pages import blocks

ROOT = Path(__file__).resolve().parents[2]
BCCD = ROOT.parent / "shared" / "data" / "bccd"
PAGE = (ROOT / "docs" / "own-detector.md").read_text()
TEACHER = re.search(r"--teacher (mmdet::\S+)", PAGE)[1]
CLASSES = ("RBC", "WBC", "Platelets")


def small(*more):
    """Settings that make the example small, and spare it the download of initial weights."""
    return [
        "--cfg-options",
        "model.backbone.init_cfg=None",
        "train_dataloader.batch_size=1",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "train_dataloader.dataset.indices=2",
        "train_dataloader.dataset.pipeline.2.scale=(320,160)",
        "val_dataloader.num_workers=0",
        "val_dataloader.dataset.indices=2",
        "val_dataloader.persistent_workers=False",
        "val_dataloader.dataset.pipeline.1.scale=(320,160)",
        "default_hooks.logger.interval=1",
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=9",
        "randomness.seed=0",
        *more,
    ]


@pytest.fixture(params=["made for the test", pytest.param("BCCD", marks=pytest.mark.full)])
def cells(request, tmp_path):
    """The page's student config, on its data or on noise with its classes."""
    root = BCCD
    if request.param == "BCCD" and not BCCD.is_dir():
        pytest.skip("../shared/data/bccd is not there")
    if request.param != "BCCD":
        root = write_coco(tmp_path / "cells", CLASSES, ["train.json", "val.json", "test.json"])
    (example,) = re.findall(r"```python\n(# cells.py\n.*?)```", PAGE, flags=re.DOTALL)
    assert 'data_root = "data/bccd/"' in example
    path = tmp_path / "cells.py"
    path.write_text(example.replace('"data/bccd/"', f'"{root}/"'))
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A checkpoint of the teacher that the page names, with random weights."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    torch.manual_seed(0)
    torch.save(dict(state_dict=build_detector(TEACHER).state_dict(), meta={}), path)
    return path


def scalars(work_dir):
    """Of the training steps."""
    lines = max(work_dir.glob("*/vis_data/scalars.json")).read_text().splitlines()
    return [record for record in map(json.loads, lines) if "loss" in record]


def test_one_command_and_the_config_that_it_keeps(command, cells, teacher, tmp_path):
    first, second = tmp_path / f"work_dirs/maps_{Path(TEACHER).stem}_cells", tmp_path / "second"
    run_block(command, blocks("docs/own-detector.md", "bash")[1], tmp_path, {"FILE_OR_URL": teacher}, small())
    log = last_log(first)
    assert "recipe maps: the student's classes are RBC, WBC, Platelets, the teacher's person, " in log
    assert re.search(r"teacher: FCOS, \d+ tensors loaded from '.*teacher.pth' \(sha256 [0-9a-f]{64}\)", log)
    assert re.search(r"\| s8 .*256 channels.* weight 10, \d+ patches of [34] +\|", log)
    for record in scalars(first):
        assert {key: value > 0 for key, value in record.items() if key.startswith("distill.loss_pcka_s")} == {
            "distill.loss_pcka_s8": True,
            "distill.loss_pcka_s16": True,
        }
    weights = torch.load(first / "epoch_1.pth", weights_only=True)["state_dict"]
    assert weights["architecture.bbox_head.retina_cls.weight"].shape[0] == 9 * len(CLASSES)

    name = f"maps_{Path(TEACHER).stem}_cells.py"
    kept = Config.fromfile(first / name)
    assert kept.model.type == "pcka_mmdet.FPNDistill" and kept.model.teacher_ckpt == str(teacher)
    command("tools/train.py", first / name, "--work-dir", second)  # everything is in it
    once, again = ([{k: v for k, v in record.items() if "loss" in k} for record in scalars(f)] for f in (first, second))
    assert len(once) == len(again) == 2
    for one, other in zip(once, again, strict=True):  # the kept config lists the losses, and so sums them, by name
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.full  # the first training of a pair is tested above
def test_a_student_that_was_trained_and_the_teachers_head(command, cells, teacher, tmp_path):
    if "shared" in cells.read_text():
        pytest.skip("one set is enough for this")
    student = build_detector(str(cells))
    torch.save(dict(state_dict=student.state_dict(), meta={}), tmp_path / "student.pth")
    arguments = [cells, "--teacher", TEACHER, "--teacher-ckpt", teacher, "--work-dir", tmp_path / "work"]
    command(
        *("tools/train.py", *arguments, "--recipe", "pcka-mimic", "--init-student", tmp_path / "student.pth"),
        *small("model.inherit=['neck.fpn_convs.0']"),
    )
    log = last_log(tmp_path / "work")
    assert f"student: {len(student.state_dict())} tensors loaded from '{tmp_path}/student.pth'" in log
    assert "student: 2 of 2 tensors of 'neck.fpn_convs.0' copied from the teacher" in log
    assert (tmp_path / "work" / f"pcka-mimic_{Path(TEACHER).stem}_cells.py").is_file()


@pytest.mark.full  # its teacher is a ResNet-50
def test_a_teacher_of_the_same_classes(command, cells, tmp_path):
    """The other trainings of the page, for one epoch."""
    if "shared" in cells.read_text():
        pytest.skip("one set is enough for this")
    (tmp_path / "teacher.py").write_text(cells.read_text().replace("_r18_", "_r50_"))
    lines = blocks("docs/own-detector.md", "bash")[0].replace("\\\n", "").splitlines()
    teacher, student, distilled = (line for line in lines if line.startswith("pcka-mmdet train"))
    run_block(command, teacher, tmp_path, options=small())
    (tmp_path / "work_dirs/teacher/epoch_1.pth").rename(tmp_path / "work_dirs/teacher/epoch_12.pth")
    run_block(command, f"{student}\n{distilled}", tmp_path, options=small())
    for path in ("cells/epoch_1.pth", "distilled/student_epoch_1.pth"):
        assert (tmp_path / "work_dirs" / path).is_file()


@pytest.fixture
def digits(digit_scenes, tmp_path):
    """Arguments that distil the demo's pair on digit scenes, with a teacher of random weights."""
    teacher = tmp_path / "teacher.pth"
    torch.save(dict(state_dict=build_detector("configs/demo/teacher.py").state_dict()), teacher)
    return [
        *("tools/train.py", "configs/demo/student.py", "--work-dir", tmp_path / "work"),
        *("--teacher", "configs/demo/teacher.py", "--teacher-ckpt", teacher),
        "--cfg-options",
        f"val_dataloader.dataset.data_root={digit_scenes}/",
        f"train_dataloader.dataset.data_root={digit_scenes}/",
        f"val_evaluator.ann_file={digit_scenes}/annotations/val.json",
    ]


def test_two_heads_of_one_kind_are_compared_with_balanced_gradients(command, digits, tmp_path):
    settings = ["train_cfg.max_epochs=1", "train_cfg.val_interval=9", "train_dataloader.batch_size=2"]
    command(*digits, *settings, "default_hooks.logger.interval=1")
    log = last_log(tmp_path / "work")
    assert "recipe both-heads: both dense heads have the same classes, anchors and box coder" in log
    _, *records = scalars(tmp_path / "work")  # the first step has no step before it to tell of
    assert records
    for record in records:
        assert record["distill.loss_head"] > 0 and record["distill.loss_own"] > 0
        for source in ("neck", "head"):
            ratio, scale = (record[f"balance.{kind}_all_{source}"] for kind in ("ratio", "scale"))
            assert ratio > 0 and scale == pytest.approx(1 / ratio, rel=1e-4)


def test_a_teacher_that_is_no_good_is_told_before_the_training(command, digits, tmp_path):
    done = command(digits[0], "--check-teacher", 2, *digits[1:], check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "the teacher's coco/bbox_mAP on the first 2 validation images is 0.000, below 0.05" in done.stderr
    assert not list((tmp_path / "work").glob("*.pth"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--teacher", TEACHER], "give --teacher CONFIG and --teacher-ckpt FILE together"),
        (["--recipe", "pcka"], "--recipe needs --teacher; a distillation's config already holds its losses"),
        (
            ["--init-student", "x.pth"],
            "--init-student is for distillations by FPNDistill. For a plain training write",
        ),
        (["--check-teacher"], "--check-teacher needs the config of a distillation, or --teacher"),
    ],
)
def test_options_that_do_not_go_together(command, arguments, message, digit_scenes, tmp_path):
    settings = [f"{split}_dataloader.dataset.data_root={digit_scenes}/" for split in ("train", "val")]
    settings += [f"val_evaluator.ann_file={digit_scenes}/annotations/val.json"]
    words = ["tools/train.py", "configs/demo/student.py", "--work-dir", tmp_path, *arguments]
    done = command(*words, "--cfg-options", *settings, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
