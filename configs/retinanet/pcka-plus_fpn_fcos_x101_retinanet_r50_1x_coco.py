_base_ = "pcka_fpn_fcos_x101_retinanet_r50_1x_coco.py"

# `--recipe teacher-head`, which tools/train.py chooses for this pair
model = dict(
    distiller=dict(losses=dict(_delete_=True, head=dict(type="pcka_mmdet.HeadLoss"))),
    balance=dict(ratio=1.0),
    teacher_precision="auto",
)
