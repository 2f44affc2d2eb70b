_base_ = "pcka_fpn_cascade-mask-rcnn_x101_mask-rcnn_r50_2x_coco.py"

# `--recipe both-heads`, which tools/train.py chooses for this pair
model = dict(
    distiller=dict(
        losses=dict(
            _delete_=True,
            head=dict(type="pcka_mmdet.HeadLoss"),
            own=dict(type="pcka_mmdet.OwnHeadLoss"),
            roi=dict(type="pcka_mmdet.RoIHeadLoss"),
        )
    ),
    balance=dict(ratio=1.0),
    teacher_precision="auto",
)
