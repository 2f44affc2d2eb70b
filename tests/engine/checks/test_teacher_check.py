"""The teacher's accuracy before the training."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pcka_mmdet.configuration.detector import build_detector, model_config
from pcka_mmdet.demo.config import move_data_root
from pcka_mmdet.engine.checks.teacher_check import check_classes_of_weights, check_teacher
from tests.detectors import build, faster_rcnn, fcos, retinanet, rtmdet, yolox


@pytest.fixture
def config(digit_scenes, tmp_path):
    """The demo's distillation on four validation scenes, its teacher with random weights in a file."""
    config = Config.fromfile("configs/demo/distilled.py")
    move_data_root(config, str(digit_scenes))
    config.work_dir, config.launcher = str(tmp_path), "none"
    config.model.teacher_ckpt = str(tmp_path / "teacher.pth")
    torch.manual_seed(0)
    weights = build_detector(config.model.teacher).state_dict()
    torch.save(dict(state_dict=weights), config.model.teacher_ckpt)
    return config


def test_below_the_threshold_it_stops(config):
    before = config.to_dict()
    with pytest.raises(
        ValueError, match="the teacher's coco/bbox_mAP on the first 3 .* images is 0.000, below 0.05. Do"
    ):
        check_teacher(config, 3)
    assert config.to_dict() == before
    subset = json.loads(Path(config.work_dir, "teacher_check/annotations.json").read_text())
    whole = json.loads(Path(config.val_evaluator.ann_file).read_text())
    kept = [image["id"] for image in whole["images"][:3]]
    assert [image["id"] for image in subset["images"]] == kept and len(whole["images"]) == 4
    assert subset["annotations"] == [a for a in whole["annotations"] if a["image_id"] in kept]


def test_mmrazors_validation_loop_is_not_the_teachers(config):
    config.val_cfg = dict(type="mmrazor.SingleTeacherDistillValLoop")
    with pytest.raises(
        ValueError, match="the teacher's coco/bbox_mAP on the first 1 .* images is 0.000, below 0.05. Do"
    ):
        check_teacher(config, 1)


def test_an_evaluator_of_several_metrics(config):
    config.val_evaluator = dict(metrics=[config.val_evaluator])
    config.teacher_check = dict(at_least=-1)
    assert check_teacher(config, 2) == [0.0]
    assert json.loads(Path(config.work_dir, "teacher_check/annotations.json").read_text())


def test_all_images(config):
    with pytest.raises(ValueError, match="the teacher's coco/bbox_mAP on all 4 validation images is 0.000, below 0.05"):
        check_teacher(config, None)
    assert not Path(config.work_dir, "teacher_check/annotations.json").exists()


def test_a_teacher_that_detects_nothing_has_metric_0(config):
    config.model.teacher = model_config(config.model.teacher)
    config.model.teacher.test_cfg.score_thr = 1.1
    with pytest.raises(
        ValueError, match="the teacher's bbox_mAP on the first 2 validation images is 0.000, below 0.05"
    ):
        check_teacher(config, 2)


def test_annotations_on_a_server(config, digit_scenes, monkeypatch):
    """They are read by MMEngine's file backends; the images are local."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=digit_scenes)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/annotations/val.json"
        config.val_dataloader.dataset.ann_file = config.val_evaluator.ann_file = url
        config.teacher_check = dict(at_least=-1)
        assert check_teacher(config, 2) == [0.0]
        server.shutdown()
    with pytest.raises(ValueError, match=f"cannot read the annotation file '{url}': .*refused"):
        check_teacher(config, 2)


def test_the_config_sets_metric_and_threshold(config):
    config.teacher_check = dict(metric="bbox_mAP_50", at_least=-1)
    assert check_teacher(config, 2) == [0.0]
    config.teacher_check = dict(minimum=0.3)
    with pytest.raises(
        ValueError, match=r"teacher_check has the options \['at_least', 'metric'\], and no \['minimum'\]"
    ):
        check_teacher(config, 2)
    config.teacher_check = dict(metric="accuracy")
    with pytest.raises(
        ValueError, match="the evaluation gives .*'coco/bbox_mAP', .* none ends with 'accuracy': name one"
    ):
        check_teacher(config, 2)


def test_a_teacher_of_boxes_for_a_student_of_masks(config):
    config.val_evaluator.metric = ["bbox", "segm"]
    config.teacher_check = dict(at_least=-1)
    assert check_teacher(config, 2) == [0.0]


def test_images_that_the_students_pipeline_does_not_pad(config):
    """RTMDet pads in its pipeline, and its neck joins maps."""
    teacher = model_config("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py")
    teacher.backbone.update(init_cfg=None, widen_factor=0.125, deepen_factor=0.17)
    teacher.neck.update(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1)
    teacher.bbox_head.update(num_classes=10, in_channels=16, feat_channels=16)
    torch.save(dict(state_dict=build_detector(teacher).state_dict()), config.model.teacher_ckpt)
    config.model.teacher = teacher
    config.val_dataloader.dataset.pipeline[1].scale = (150, 150)
    config.teacher_check = dict(at_least=-1)
    assert check_teacher(config, 1) == [0.0]


def test_a_checkpoint_without_the_head(config):
    weights = torch.load(config.model.teacher_ckpt)["state_dict"]
    torch.save({k: v for k, v in weights.items() if "retina_cls" not in k}, config.model.teacher_ckpt)
    with pytest.raises(
        ValueError, match="--check-teacher runs the teacher's head, which .* missing bbox_head.retina_cls"
    ):
        check_teacher(config, 2)


def test_a_teacher_of_other_classes(config):
    config.model.teacher = dict(cfg_path="mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py")
    with pytest.raises(
        ValueError, match=r"num_classes=\[80\], and the validation data have 10 classes .* leave --check"
    ):
        check_teacher(config, 2)


def test_what_cannot_be_checked(config):
    config.model.teacher_ckpt = "none.pth"
    with pytest.raises(FileNotFoundError, match="teacher_ckpt 'none.pth' does not exist"):
        check_teacher(config, 2)
    with pytest.raises(ValueError, match="needs the config of a distillation, or --teacher; this one has no teacher"):
        check_teacher(Config.fromfile("configs/demo/student.py"), 2)
    config.val_dataloader = None
    with pytest.raises(ValueError, match="--check-teacher needs a val_dataloader"):
        check_teacher(config, 2)


def with_classes(config: dict, number: int) -> dict:
    head = config.get("roi_head") or config
    head["bbox_head"]["num_classes"] = number
    return config


@pytest.mark.parametrize("classes", [80, 1])
@pytest.mark.parametrize("detector", [retinanet, fcos, rtmdet, yolox, faster_rcnn])
def test_the_classes_of_a_config_and_of_its_weights(detector, classes, tmp_path):
    """Of anchors times classes, of classes, and of classes with a background."""
    path = str(tmp_path / "teacher.pth")
    teacher = build(with_classes(detector(), classes))
    torch.save(dict(state_dict=build(with_classes(detector(), 3)).state_dict()), path)
    message = f"config has {classes} classes, and its weights .* have 3: .*bbox_head.num_classes=3,"
    with pytest.raises(ValueError, match=message):
        check_classes_of_weights(teacher, path)
    torch.save(dict(state_dict=teacher.state_dict()), path)
    check_classes_of_weights(teacher, path)
    for file in ("random", str(tmp_path / "none.pth")):
        check_classes_of_weights(teacher, file)
