# An FCOS as the teacher of a RetinaNet: the small pair's teacher, with another head.
_base_ = "../small/teacher.py"

model = dict(
    type="FCOS",
    bbox_head=dict(
        _delete_=True,
        type="FCOSHead",
        num_classes=3,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=[8, 16, 32, 64],
        # at 256x192 red cells have sides of about 41 pixels, white cells of 75, platelets of 15
        regress_ranges=((-1, 16), (16, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        norm_cfg=dict(type="GN", num_groups=16),  # its levels share the layers: batch norms would mix their statistics
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
    ),
)
