# A student whose backbone starts from ImageNet weights, as most users': the small pair's teacher with a narrow neck and
# head.
_base_ = "../small/teacher.py"

max_epochs = 10

model = dict(
    neck=dict(out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, stacked_convs=1),
)
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type="OneCycleLR", eta_max=1e-3, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
