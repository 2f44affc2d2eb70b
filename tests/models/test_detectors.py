"""Students of MMDetection's families, each distilled from a small RetinaNet (strides 8 to 64)."""

import pytest
import torch
from mmdet.testing import demo_mm_inputs

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.sources import UNLABELLED
from tests.detectors import check_gradients, retinanet, step

LOSSES = dict(pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=1), mimic=dict(type="pcka_mmdet.MimicLoss"))

ONE_LAYER = dict(encoder=dict(num_layers=1), decoder=dict(num_layers=1))
STUDENTS = {
    "atss": (dict(cfg_path="mmdet::atss/atss_r50_fpn_1x_coco.py"), (8, 16, 32, 64)),
    "rtmdet": (dict(cfg_path="mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"), (8, 16, 32)),
    "yolov3": (dict(cfg_path="mmdet::yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py"), (8, 16, 32)),
    "pafpn, two-stage": (
        dict(
            cfg_path="mmdet::pafpn/faster-rcnn_r50_pafpn_1x_coco.py",
            train_cfg=dict(rcnn=dict(sampler=dict(num=32))),  # of 512: they cost most of the step
        ),
        (8, 16, 32, 64),
    ),
    "dino": (
        dict(cfg_path="mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", num_queries=100, **ONE_LAYER),
        (8, 16, 32, 64),
    ),
    "deformable detr": (
        dict(cfg_path="mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", **ONE_LAYER),
        (8, 16, 32, 64),
    ),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_step_with_a_gradient_at_every_pair(name):
    student, strides = STUDENTS[name]
    student = dict(student, backbone=dict(init_cfg=None))  # nothing is downloaded
    torch.manual_seed(0)
    model = FPNDistill(student, retinanet(), dict(type="pcka_mmdet.FPNDistiller", losses=LOSSES), "random")
    model.init_weights()  # DETR's constructors leave parameters as memory happened to be
    assert [pair.stride for pair in model.distiller.terms["pcka"]] == list(strides)
    batch = demo_mm_inputs(2, [[3, 128, 192]] * 2, num_items=[3, 3])
    step(model, check_gradients(model, batch))
    batch["data_samples"][1].set_metainfo({UNLABELLED: True})
    losses = model(**model.data_preprocessor(batch, True), mode="loss")
    step(model, losses)
    assert all(losses[f"distill.loss_{term.key}"] > 0 for term in model.distiller.all_terms)


def test_a_detector_without_a_neck_is_refused():
    student = dict(cfg_path="mmdet::faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py")
    with pytest.raises(ValueError, match="FasterRCNN has no neck: compare maps of the backbone"):
        FPNDistill(student, retinanet(), dict(type="pcka_mmdet.FPNDistiller", losses=LOSSES), "random")


def test_a_swin_teacher_gives_the_same_maps_twice():
    """DropPath is off, though the student trains."""
    backbone = dict(
        _delete_=True, type="SwinTransformer", embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4], mlp_ratio=1
    )
    backbone |= dict(window_size=4, drop_path_rate=0.5, convert_weights=False)
    teacher = build_detector(
        dict(
            cfg_path="mmdet::swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py",
            backbone=backbone,
            neck=dict(in_channels=[12, 24, 48, 96], out_channels=16),
        )
    )
    losses = dict(pcka=LOSSES["pcka"])
    model = FPNDistill(retinanet(), teacher, dict(type="pcka_mmdet.FPNDistiller", losses=losses), "random").train()
    images = torch.randn(1, 3, 64, 96)
    first, second = (model._teacher(images, None, model._normalisation)["neck"] for _ in range(2))
    assert len(first) == 5 and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    model.teacher.train()
    trained = model.teacher.extract_feat(images)
    assert not torch.equal(trained[0], first[0])  # it does drop paths where it is not frozen
