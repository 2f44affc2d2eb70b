# A student whose backbone starts from ImageNet weights, as most users': MobileNetV2 without its last stages, and a thin
# head.
_base_ = "../teacher.py"

max_epochs = 9

model = dict(
    backbone=dict(out_indices=(2, 4)),
    neck=dict(in_channels=[32, 96]),
    bbox_head=dict(feat_channels=32, stacked_convs=1),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=1e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
