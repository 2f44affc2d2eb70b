# The small pair's student with the head, the assigner and the losses of RTMDet.
_base_ = "../small/student.py"

model = dict(
    type="RTMDet",
    bbox_head=dict(
        _delete_=True,
        type="RTMDetSepBNHead",
        num_classes=3,
        in_channels=16,
        feat_channels=16,
        stacked_convs=2,
        share_conv=True,
        anchor_generator=dict(type="MlvlPointGenerator", offset=0, strides=[8, 16, 32, 64]),
        bbox_coder=dict(type="DistancePointBBoxCoder"),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        with_objectness=False,
        exp_on_reg=False,  # as RTMDet-tiny and -s
        norm_cfg=dict(type="BN"),
    ),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(type="DynamicSoftLabelAssigner", topk=13),
        allowed_border=-1,
        pos_weight=-1,
    ),
)
