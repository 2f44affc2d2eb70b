# An FCOS as the student of a RetinaNet: the small pair's student, with another head.
_base_ = "../small/student.py"

model = dict(
    type="FCOS",
    bbox_head=dict(
        _delete_=True,
        type="FCOSHead",
        num_classes=3,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32, 64],
        # at 256x192 red cells have sides of about 41 pixels, white cells of 75, platelets of 15
        regress_ranges=((-1, 16), (16, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        norm_cfg=dict(type="GN", num_groups=4),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
    ),
    train_cfg=None,
)
