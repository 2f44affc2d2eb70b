# The teacher of the student from ImageNet weights: the whole MobileNetV2, a deeper head, more epochs.
_base_ = "../teacher.py"

max_epochs = 40
learning_rate = 3e-3

model = dict(backbone=dict(frozen_stages=0))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(256, 256)),
    dict(type="RandomFlip", prob=[0.25, 0.25, 0.25], direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=learning_rate))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=learning_rate, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
