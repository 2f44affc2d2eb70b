"""Tiny detectors and batches, real ones of MMDetection's."""

import copy
from typing import Any

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper

from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.models.queries import has_queries

NUM_CLASSES = 2


def retinanet(channels: int = 16, width: int = 8, start_level: int = 1, **preprocessing: Any) -> dict:
    """A RetinaNet with a ResNet-18 of base width `width` and four neck levels of `channels` channels from P3 on."""
    strides = [4 * 2**start_level * 2**i for i in range(4)]
    return dict(
        type="RetinaNet",
        data_preprocessor=dict(
            type="DetDataPreprocessor",
            **{
                **dict(mean=[120.0, 115.0, 105.0], std=[58.0, 57.0, 56.0], bgr_to_rgb=True, pad_size_divisor=32),
                **preprocessing,
            },
        ),
        backbone=dict(type="ResNet", depth=18, base_channels=width, stem_channels=width, norm_eval=False),
        neck=dict(
            type="FPN",
            in_channels=[width, 2 * width, 4 * width, 8 * width],
            out_channels=channels,
            start_level=start_level,
            add_extra_convs="on_output",
            num_outs=4,
        ),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=NUM_CLASSES,
            in_channels=channels,
            feat_channels=channels,
            stacked_convs=1,
            anchor_generator=dict(
                type="AnchorGenerator", octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=strides
            ),
            bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
            loss_cls=dict(type="FocalLoss", use_sigmoid=True),
            loss_bbox=dict(type="L1Loss"),
        ),
        train_cfg=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=dict(nms_pre=50, score_thr=0.0, nms=dict(type="nms", iou_threshold=0.5), max_per_img=10),
    )


def fcos(task_weight: float = 1.0) -> dict:
    """An FCOS like it; its losses are averaged over the images of all processes."""
    losses = {
        "loss_cls": dict(type="FocalLoss", use_sigmoid=True),
        "loss_bbox": dict(type="IoULoss"),
        "loss_centerness": dict(type="CrossEntropyLoss", use_sigmoid=True),
    }
    config = retinanet()
    config["backbone"]["norm_eval"] = True
    config["bbox_head"] = dict(
        type="FCOSHead",
        num_classes=NUM_CLASSES,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32, 64],
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 1e8)),
        norm_cfg=dict(type="GN", num_groups=4),
        **{name: dict(loss, loss_weight=task_weight) for name, loss in losses.items()},
    )
    return {**config, "type": "FCOS", "train_cfg": None}


def gfl() -> dict:
    """A GFL like it, whose boxes are distributions over 5 values."""
    return _with_head(
        "GFL",
        dict(
            type="GFLHead",
            reg_max=4,
            loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True),
            loss_dfl=dict(type="DistributionFocalLoss"),
            loss_bbox=dict(type="GIoULoss"),
        ),
    )


def atss() -> dict:
    """An ATSS like it."""
    return _with_head(
        "ATSS",
        dict(
            type="ATSSHead",
            bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
            loss_cls=dict(type="FocalLoss", use_sigmoid=True),
            loss_bbox=dict(type="GIoULoss"),
            loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True),
        ),
    )


def reppoints() -> dict:
    """A RepPoints like it."""
    config = retinanet()
    losses = {name: dict(type="SmoothL1Loss") for name in ("loss_bbox_init", "loss_bbox_refine")}
    config["bbox_head"] = dict(
        type="RepPointsHead",
        num_classes=NUM_CLASSES,
        in_channels=16,
        feat_channels=16,
        point_feat_channels=16,
        stacked_convs=1,
        point_strides=[8, 16, 32, 64],
        loss_cls=dict(type="FocalLoss", use_sigmoid=True),
        **losses,
    )
    train_cfg = dict(init=dict(assigner=dict(type="PointAssigner", scale=4, pos_num=1)), refine=config["train_cfg"])
    for stage in train_cfg.values():
        stage.update(allowed_border=-1, pos_weight=-1, debug=False)
    return {**config, "type": "RepPointsDetector", "train_cfg": train_cfg}


def rtmdet(exp_on_reg: bool = True) -> dict:
    """An RTMDet like it."""
    config = retinanet()
    config["bbox_head"] = dict(
        type="RTMDetSepBNHead",
        num_classes=NUM_CLASSES,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        anchor_generator=dict(type="MlvlPointGenerator", offset=0, strides=[8, 16, 32, 64]),
        bbox_coder=dict(type="DistancePointBBoxCoder"),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True),
        loss_bbox=dict(type="GIoULoss"),
        with_objectness=False,
        exp_on_reg=exp_on_reg,
        norm_cfg=dict(type="BN"),
    )
    train_cfg = dict(assigner=dict(type="DynamicSoftLabelAssigner", topk=3), allowed_border=-1, pos_weight=-1)
    return {**config, "type": "RTMDet", "train_cfg": train_cfg}


def yolox() -> dict:
    """A YOLOX like it."""
    config = retinanet()
    config["bbox_head"] = dict(
        type="YOLOXHead",
        num_classes=NUM_CLASSES,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32, 64],
        norm_cfg=dict(type="BN"),
    )
    return {**config, "type": "YOLOX", "train_cfg": dict(assigner=dict(type="SimOTAAssigner"))}


def _with_head(kind: str, head: dict) -> dict:
    config = retinanet()
    anchors = {**config["bbox_head"]["anchor_generator"], "ratios": [1.0]}
    shared = dict(num_classes=NUM_CLASSES, in_channels=16, feat_channels=16, stacked_convs=1, anchor_generator=anchors)
    config["bbox_head"] = {**shared, "norm_cfg": dict(type="GN", num_groups=4), **head}
    train_cfg = dict(assigner=dict(type="ATSSAssigner", topk=3), allowed_border=-1, pos_weight=-1)
    return {**config, "type": kind, "train_cfg": train_cfg}


def faster_rcnn(stages: int = 1, **options: Any) -> dict:
    """A Faster R-CNN on the same neck, or with several stages a Cascade R-CNN."""
    one_stage = retinanet(**options)
    anchors = {**one_stage["bbox_head"]["anchor_generator"], "ratios": [1.0, 2.0]}  # RPNHead squeezes a lone anchor
    coder = dict(type="DeltaXYWHBBoxCoder")
    box_head = dict(
        type="Shared2FCBBoxHead",
        in_channels=16,
        fc_out_channels=8,
        roi_feat_size=3,
        num_classes=NUM_CLASSES,
        bbox_coder=dict(coder, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
        reg_class_agnostic=stages > 1,
        loss_cls=dict(type="CrossEntropyLoss"),
        loss_bbox=dict(type="L1Loss"),
    )
    extractor = dict(
        type="SingleRoIExtractor",
        roi_layer=dict(type="RoIAlign", output_size=3, sampling_ratio=0),
        out_channels=16,
        featmap_strides=[8, 16, 32],
    )
    assigner = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)
    rcnn = dict(
        assigner=assigner,
        sampler=dict(type="RandomSampler", num=16, pos_fraction=0.25, add_gt_as_proposals=True),
        pos_weight=-1,
        debug=False,
    )
    proposals = dict(nms_pre=50, max_per_img=16, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0)
    cascade = dict(num_stages=stages, stage_loss_weights=[1.0] * stages)
    return dict(
        type="FasterRCNN" if stages == 1 else "CascadeRCNN",
        data_preprocessor=one_stage["data_preprocessor"],
        backbone=one_stage["backbone"],
        neck=one_stage["neck"],
        rpn_head=dict(
            type="RPNHead",
            in_channels=16,
            feat_channels=16,
            anchor_generator=anchors,
            bbox_coder=coder,
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True),
            loss_bbox=dict(type="L1Loss"),
        ),
        roi_head=dict(
            type="StandardRoIHead" if stages == 1 else "CascadeRoIHead",
            bbox_roi_extractor=extractor,
            bbox_head=box_head if stages == 1 else [box_head] * stages,
            **({} if stages == 1 else cascade),
        ),
        train_cfg=dict(
            rpn=dict(
                assigner=assigner,
                sampler=dict(type="RandomSampler", num=16, pos_fraction=0.5, add_gt_as_proposals=False),
                allowed_border=-1,
                pos_weight=-1,
            ),
            rpn_proposal=proposals,
            rcnn=rcnn if stages == 1 else [rcnn] * stages,
        ),
        test_cfg=dict(rpn=proposals, rcnn=dict(score_thr=0.0, nms=dict(type="nms", iou_threshold=0.5), max_per_img=10)),
    )


EVERY_KIND = dict(
    channels=dict(type="mmrazor.ChannelWiseDivergence", loss_weight=1.0, strides=(8, 16, 32)),
    generation=dict(type="pcka_mmdet.MaskedGenerationLoss", loss_weight=1e-3, strides=(8, 16)),
    head=dict(type="pcka_mmdet.HeadLoss"),
    mmd=dict(type="pcka_mmdet.MMDLoss", loss_weight=10.0, patch_size=1, strides=(8, 16)),
    samples=dict(type="pcka_mmdet.RCKALoss", source="neck", centering="none", gather=True, strides=(8,)),
    attention=dict(
        type="pcka_mmdet.PatchedLoss",
        loss=dict(type="mmrazor.ATLoss", loss_weight=1.0),
        layout="maps",
        patch_size=2,
        strides=(8,),
    ),
)
"""Losses that need all of the contract: MMRazor's, one with parameters of its own, one that runs the teacher's head,
one that gathers the samples of all processes, and one around another."""


def distillation(**overrides: Any) -> dict:
    """An FPNDistill of two tiny RetinaNets, PCKA with patches of 2 on the two finest levels and mimic on all."""
    return {
        **dict(
            type="pcka_mmdet.FPNDistill",
            architecture=retinanet(),
            teacher=retinanet(width=12),
            teacher_ckpt="random",
            distiller=dict(
                type="pcka_mmdet.FPNDistiller",
                losses=dict(
                    pcka=dict(type="pcka_mmdet.PCKALoss", patch_size=2, strides=(8, 16)),
                    mimic=dict(type="pcka_mmdet.MimicLoss"),
                ),
            ),
        ),
        **overrides,
    }


def build(config: dict) -> BaseModel:
    """The model of a config, which is left as it is, with weights that the seed alone decides."""
    torch.manual_seed(0)
    model = build_detector(copy.deepcopy(config))
    students = [model.student] if hasattr(model, "distiller") else [model]
    for detector in [*students, *(teacher.detector for teacher in getattr(model, "_teachers", []))]:
        if has_queries(detector):  # DETR's constructors leave parameters as memory happened to be
            detector.init_weights()
    return model


def raw_batch(*sizes: tuple[int, int]) -> dict:
    """Random images of `(height, width)` pixels with boxes, as a data loader gives them."""
    shapes = [(3, *size) for size in sizes or ((64, 64), (64, 64))]
    return demo_mm_inputs(len(shapes), shapes, num_items=[2] * len(shapes), num_classes=NUM_CLASSES)


def maps(seed: int, channels: int = 16) -> list[torch.Tensor]:
    """Random neck maps of two images of 128x128 pixels."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, channels, side, side, generator=generator) for side in (16, 8, 4, 2)]


def losses_of(model: BaseModel) -> dict[str, torch.Tensor]:
    """Losses of a random batch."""
    return model(**model.data_preprocessor(raw_batch(), True), mode="loss")


def check_gradients(model: BaseModel, batch: dict) -> dict[str, torch.Tensor]:
    """Losses of a training batch; each distillation loss has a finite gradient, not zero, on its student's map."""
    maps: list[torch.Tensor] = []
    handle = model.student.neck.register_forward_hook(lambda module, inputs, outputs: maps.extend(outputs))
    losses = model.train()(**model.data_preprocessor(batch, True), mode="loss")
    handle.remove()
    for term in model.distiller.all_terms:
        loss = losses[f"distill.loss_{term.key}"]
        for pair in term.pairs:
            gradient = torch.autograd.grad(loss, maps[pair.student.index], retain_graph=True)[0]
            assert loss > 0 and torch.isfinite(gradient).all() and gradient.abs().max() > 0, (term.key, pair.stride)
    return losses


def step(model: BaseModel, losses: dict[str, torch.Tensor]) -> None:
    """One step of SGD, which changes the student's neck."""
    weights = [parameter for parameter in model.student.neck.parameters() if parameter.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    OptimWrapper(optimizer).update_params(model.parse_losses(losses)[0])
    assert any(not torch.equal(weight, old) for weight, old in zip(weights, before, strict=True))
