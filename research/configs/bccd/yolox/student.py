# The small pair's student with the head, the assigner and the losses of YOLOX.
_base_ = "../small/student.py"

model = dict(
    type="YOLOX",
    bbox_head=dict(
        _delete_=True,
        type="YOLOXHead",
        num_classes=3,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32, 64],
        norm_cfg=dict(type="BN"),
    ),
    train_cfg=dict(_delete_=True, assigner=dict(type="SimOTAAssigner", center_radius=2.5)),
    test_cfg=dict(_delete_=True, score_thr=0.01, nms=dict(type="nms", iou_threshold=0.5)),
)
