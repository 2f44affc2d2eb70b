"""Each pair of families takes a step with its recipe: MMDetection's own configs, shrunk."""

import re

import pytest
import torch

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.engine.recipe import suitable_recipe
from pcka_mmdet.models import FPNDistill
from tests.detectors import losses_of, step
from tests.processes import ROOT

RECIPES = ROOT / "docs" / "recipes.md"

RESNET = dict(init_cfg=None, base_channels=8, stem_channels=8)
HEAD = dict(num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1)
BOTTLENECKS = dict(in_channels=[32, 64, 128, 256], out_channels=16)
LAYER = dict(num_layers=1, layer_cfg=dict(ffn_cfg=dict(feedforward_channels=32)))
DETR = dict(
    num_queries=10,
    backbone=RESNET,
    neck=dict(in_channels=[64, 128, 256]),
    encoder=LAYER,
    decoder=LAYER,
    bbox_head=dict(num_classes=2),
)
STAGE = dict(
    type="Shared2FCBBoxHead",
    in_channels=16,
    fc_out_channels=16,
    roi_feat_size=7,
    num_classes=2,
    reg_class_agnostic=True,
    bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=(0.0,) * 4, target_stds=(0.1, 0.1, 0.2, 0.2)),
    loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False),
    loss_bbox=dict(type="SmoothL1Loss"),
)
CSP = dict(deepen_factor=0.1, widen_factor=0.125, init_cfg=None)

FAMILIES = {
    "anchors": dict(
        RetinaNet=dict(
            cfg_path="mmdet::retinanet/retinanet_r18_fpn_1x_coco.py",
            backbone=RESNET,
            neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
            bbox_head=HEAD,
        )
    ),
    "points": dict(
        FCOS=dict(
            cfg_path="mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
            backbone=RESNET,
            neck=BOTTLENECKS,
            bbox_head=HEAD | dict(norm_cfg=dict(type="GN", num_groups=4)),
        )
    ),
    "RTMDet, YOLOX": dict(
        RTMDet=dict(
            cfg_path="mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
            backbone=CSP,
            neck=dict(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1),
            bbox_head=HEAD,
        ),
        YOLOX=dict(
            cfg_path="mmdet::yolox/yolox_tiny_8xb8-300e_coco.py",
            data_preprocessor=dict(batch_augments=None),  # they read the runner's iteration
            backbone=CSP,
            neck=dict(in_channels=[32, 64, 128], out_channels=16),
            bbox_head=HEAD,
        ),
    ),
    "two stages": {
        "Faster R-CNN": dict(
            cfg_path="mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
            backbone=RESNET,
            neck=BOTTLENECKS,
            rpn_head=dict(in_channels=16, feat_channels=16),
            roi_head=dict(
                bbox_roi_extractor=dict(out_channels=16),
                bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=2),
            ),
            train_cfg=dict(rcnn=dict(sampler=dict(num=32))),
        ),
        "Cascade R-CNN": dict(
            cfg_path="mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
            backbone=RESNET,
            neck=BOTTLENECKS,
            rpn_head=dict(in_channels=16, feat_channels=16),
            roi_head=dict(bbox_roi_extractor=dict(out_channels=16), bbox_head=[STAGE] * 3),
        ),
    },
    "DETR": dict(
        DINO=dict(DETR, cfg_path="mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py"),
        DeformableDETR=dict(DETR, cfg_path="mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py"),
        DABDETR=dict(DETR, cfg_path="mmdet::dab_detr/dab-detr_r50_8xb2-50e_coco.py", neck=dict(in_channels=[256])),
    ),
}
"""Shrunk configs, by the family and the name."""

FAMILY = {name: family for family, configs in FAMILIES.items() for name in configs}
FIRST = [next(iter(configs)) for configs in FAMILIES.values()]
PAIRS = [(student, teacher) for student in FAMILY for teacher in FAMILY]


def rare(student: str, teacher: str) -> bool:
    """Whether another pair of the cell, or of the two heads, is tested by default."""
    return student != teacher and not {student, teacher} <= set(FIRST)


def table() -> dict[tuple[str, str], str]:
    """The recipe by family of student and teacher, as the docs show it."""
    head, _, *rows = re.search(r"\| teacher .*?\n\n", RECIPES.read_text(), re.DOTALL)[0].splitlines()[:-1]
    cells = [[cell.strip("` ") for cell in row.strip("|").split("|")] for row in (head, *rows)]
    students = cells[0][1:]
    return {(student, row[0]): recipe for row in cells[1:] for student, recipe in zip(students, row[1:], strict=True)}


def test_the_table_has_all_families():
    assert set(table()) == {(student, teacher) for student in FAMILIES for teacher in FAMILIES}


@pytest.mark.parametrize(
    ("student", "teacher"), [pytest.param(*pair, marks=pytest.mark.full if rare(*pair) else ()) for pair in PAIRS]
)
def test_a_pair_takes_a_step_with_its_recipe(student, teacher):
    sides = [build_detector(FAMILIES[FAMILY[name]][name]) for name in (student, teacher)]
    recipe = suitable_recipe(*sides).recipe
    families = FAMILY[student], FAMILY[teacher]
    as_in_table = student == teacher or len(set(families)) == 2 or families[0] == "two stages"  # which have one RPN
    assert recipe == (table()[families] if as_in_table else "predictions")
    torch.manual_seed(0)
    model = FPNDistill(*sides, teacher_ckpt="random", recipe=recipe, teacher_precision="fp32").train()
    for detector in (model, sides[1]):  # DETR's constructors leave parameters as memory happened to be
        detector.init_weights()
    losses = losses_of(model)
    distilled = {key: value for key, value in losses.items() if key.startswith("distill.")}
    assert distilled and all(value > 0 for value in distilled.values())
    step(model, losses)
