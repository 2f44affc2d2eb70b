_base_ = "pcka_fpn_gfl_r101_gfl_r50_2x_coco.py"

# `--recipe both-heads`, which tools/train.py chooses for this pair
model = dict(
    distiller=dict(
        losses=dict(_delete_=True, head=dict(type="pcka_mmdet.HeadLoss"), own=dict(type="pcka_mmdet.OwnHeadLoss"))
    ),
    balance=dict(ratio=1.0),
    teacher_precision="auto",
)
