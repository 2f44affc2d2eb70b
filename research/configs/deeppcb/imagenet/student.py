# A student whose backbone starts from ImageNet weights, as most users': the stages of MobileNetV2 up to a stride of 8,
# and a thin head.
_base_ = "../teacher.py"

custom_imports = dict(imports=["research.verdict.short_backbone"])
max_epochs = 9

model = dict(
    backbone=dict(type="ShortMobileNetV2", out_indices=(2,)),
    neck=dict(in_channels=[32]),
    bbox_head=dict(feat_channels=32, stacked_convs=1),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=1e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
