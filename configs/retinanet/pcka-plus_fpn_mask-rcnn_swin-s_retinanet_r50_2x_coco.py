_base_ = "pcka_fpn_mask-rcnn_swin-s_retinanet_r50_2x_coco.py"

# `--recipe teacher-head`, which tools/train.py chooses for this pair
model = dict(
    distiller=dict(
        losses=dict(_delete_=True, head=dict(type="pcka_mmdet.HeadLoss"), roi=dict(type="pcka_mmdet.RoIHeadLoss"))
    ),
    balance=dict(ratio=1.0),
    teacher_precision="auto",
)
