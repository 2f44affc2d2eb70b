# The demo's teacher: 2.7 times the width, one more convolution in the head, three times the multiply-adds.
_base_ = "student.py"

max_epochs = 20

model = dict(
    backbone=dict(base_channels=32, stem_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]),
    bbox_head=dict(stacked_convs=2),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=3e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
