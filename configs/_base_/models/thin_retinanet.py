# RetinaNet with a ResNet-18 of a fifth of the usual width, levels s8 to s64, and separate batch norms per head level.
model = dict(
    type="RetinaNet",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type="ResNet", depth=18, base_channels=12, stem_channels=12, norm_eval=False, frozen_stages=-1, init_cfg=None
    ),
    neck=dict(
        type="FPN",
        in_channels=[12, 24, 48, 96],
        out_channels=64,
        start_level=1,
        add_extra_convs="on_output",
        num_outs=4,
        norm_cfg=dict(type="BN"),
    ),
    bbox_head=dict(
        type="RetinaSepBNHead",
        num_classes=10,
        num_ins=4,
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        norm_cfg=dict(type="BN"),
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=2,
            scales_per_octave=2,
            ratios=[1.0, 1.6],
            strides=[8, 16, 32, 64],
        ),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        reg_decoded_bbox=True,
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
    ),
    train_cfg=dict(
        assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type="PseudoSampler"),
        allowed_border=-1,
        pos_weight=-1,
    ),
    test_cfg=dict(
        nms_pre=300, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5), max_per_img=50
    ),
)
