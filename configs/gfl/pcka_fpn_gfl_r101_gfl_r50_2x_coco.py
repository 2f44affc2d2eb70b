_base_ = ["mmdet::gfl/gfl_r50_fpn_1x_coco.py", "../_base_/distillers/pcka-positions.py"]

model = dict(
    _delete_=True,
    type="pcka_mmdet.FPNDistill",
    architecture={{_base_.model}},
    teacher=dict(cfg_path="mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py"),
    teacher_ckpt="https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/"
    "gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth",
    distiller={{_base_.distiller}},
)
log_processor = dict(type="pcka_mmdet.LevelLogProcessor")
# All recipes of the paper use 24 epochs at one scale; mmdet's student uses 12. The learning rate is mmdet's.
train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1),
]
