# The student for 24 epochs at one scale, as all recipes of the paper; mmdet's has 12. The learning rate is mmdet's.
_base_ = "mmdet::gfl/gfl_r50_fpn_1x_coco.py"

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=24, by_epoch=True, milestones=[16, 22], gamma=0.1),
]
