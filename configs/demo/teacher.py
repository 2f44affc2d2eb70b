# The demo's teacher: three times the width, one more convolution in the head, half as many epochs again.
_base_ = "student.py"

max_epochs = 24

model = dict(
    backbone=dict(base_channels=32, stem_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256]),
    bbox_head=dict(stacked_convs=2),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(
        type="OneCycleLR",
        eta_max={{_base_.learning_rate}},
        total_steps=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
