"""Levels of real necks, and their pairing by stride."""

import copy

import pytest
import torch
from torch import nn

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models.levels import Level, neck_levels, pair_levels, source_levels
from pcka_mmdet.models.teacher.images import Normalisation
from pcka_mmdet.models.teacher.teacher import Teacher
from tests.detectors import build, retinanet


def strides_and_channels(levels):
    return {level.stride: level.channels for level in levels}


def test_declared_by_head_and_neck(monkeypatch):
    detector = build(retinanet(channels=24))
    monkeypatch.setattr(detector, "extract_feat", lambda images: pytest.fail("no dry run is needed"))
    assert neck_levels(detector) == [Level(i, s, 24) for i, s in enumerate((8, 16, 32, 64))]


def test_measured_where_the_head_says_nothing():
    detector = build(retinanet(channels=24)).train()
    del detector.bbox_head.prior_generator
    before, random_state = copy.deepcopy(detector.state_dict()), torch.get_rng_state()
    assert neck_levels(detector) == [Level(i, s, 24) for i, s in enumerate((8, 16, 32, 64))]
    assert detector.training and torch.equal(torch.get_rng_state(), random_state)
    for key, value in detector.state_dict().items():  # batch norm statistics above all
        assert torch.equal(value, before[key]), key


def test_measured_where_the_neck_has_more_levels_than_the_head_says():
    config = retinanet(channels=24)
    config["neck"]["num_outs"] = 5
    assert strides_and_channels(neck_levels(build(config))) == dict.fromkeys((8, 16, 32, 64, 128), 24)


@pytest.mark.parametrize(
    "config, expected",
    [
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", dict.fromkeys((4, 8, 16, 32, 64), 256)),
        ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", dict.fromkeys((8, 16, 32, 64, 128), 256)),
        ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", dict.fromkeys((8, 16, 32), 96)),
        ("yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py", {8: 96, 16: 96, 32: 96}),
        ("yolact/yolact_r50_1xb8-55e_coco.py", dict.fromkeys((8, 16, 32, 64, 128), 256)),
        ("ssd/ssd300_coco.py", {8: 512, 16: 1024, 32: 512, 64: 256, 100: 256, 300: 256}),
        (
            "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
            {16: 96, 32: 1280, 64: 512, 107: 256, 160: 256, 320: 128},
        ),
    ],
)
def test_detectors_of_mmdetection(config, expected):
    model = load_config(f"mmdet::{config}").model
    model.backbone.init_cfg = None
    model["_scope_"] = "mmdet"
    detector = build_detector(model).to("meta")  # its dry run computes nothing
    assert strides_and_channels(neck_levels(detector)) == expected


def test_a_backbone_that_gives_a_single_map(monkeypatch):
    """As MMDetection's SSDVGG with one output."""
    detector = build(retinanet())
    whole = detector.backbone.forward
    monkeypatch.setattr(detector.backbone, "forward", lambda images: whole(images)[-1])
    images, plain = torch.zeros(2, 3, 64, 64), Normalisation.of(detector.data_preprocessor)
    record = Teacher(detector, "random", fuse=False, channels_last=False)(images, None, plain, ("backbone",))
    (level,) = source_levels(detector, "backbone")
    assert level.stride == 32 and [m.shape for m in record["backbone"]] == [(2, level.channels, 2, 2)]


class Classifier(nn.Module):
    def __init__(self, channels: int, nested: bool = False):
        super().__init__()
        self.backbone = nn.Conv2d(channels, 5, 3, stride=4, padding=1)
        if nested:
            self.backbone.register_forward_hook(lambda module, inputs, outputs: [(outputs, outputs)])


def test_the_channels_of_an_image():
    assert source_levels(Classifier(1), "backbone") == [Level(0, 4, 5)]
    with pytest.raises(
        ValueError, match="Classifier takes no image of .256, 512, 224. pixels, .*3 channels nor of 1: "
    ):
        source_levels(Classifier(4), "backbone")
    with pytest.raises(ValueError, match="Classifier gives nested outputs there, which are no maps"):
        source_levels(Classifier(3, nested=True), "backbone")


def test_no_neck():
    with pytest.raises(ValueError, match=r"RetinaNet has no neck: .*\(source='backbone' in .*or give it a neck"):
        neck_levels(build({**retinanet(), "neck": None}))


def levels(*strides):
    return [Level(i, stride, 16) for i, stride in enumerate(strides)]


def test_pairs_by_stride_not_by_index():
    pairs = pair_levels(levels(8, 16, 32, 64, 128), levels(4, 8, 16, 32, 64))
    assert [(p.stride, p.student.index, p.teacher.index) for p in pairs] == [
        (8, 0, 1),
        (16, 1, 2),
        (32, 2, 3),
        (64, 3, 4),
    ]
    deep_first = pair_levels(levels(32, 16, 8), levels(8, 16, 32))
    assert [(p.stride, p.student.index, p.teacher.index) for p in deep_first] == [(8, 2, 0), (16, 1, 1), (32, 0, 2)]


def test_selected_strides():
    assert [p.stride for p in pair_levels(levels(8, 16, 32), levels(8, 16, 32), (16, 32))] == [16, 32]
    with pytest.raises(ValueError, match=r"at stride \[128\].*student's .*\[8, 16, 128\].*teacher's .*\[4, 8, 16\]"):
        pair_levels(levels(8, 16, 128), levels(4, 8, 16), (8, 128))
    with pytest.raises(ValueError, match=r"no level to distil.*in common \[\]"):
        pair_levels(levels(8, 16), levels(4, 32))


def test_two_levels_of_one_stride():
    detector = build(retinanet())
    detector.bbox_head.prior_generator.strides = [8, 8, 16, 32]
    with pytest.raises(ValueError, match=r"two levels of one stride: \[8, 8, 16, 32\]"):
        neck_levels(detector)
